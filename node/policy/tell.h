/* Tell: people are told what waits for them, by a command of theirs (policy.yaml, tell:).
 *
 * The command is run without a shell, in a process group of its own, with nothing but PATH,
 * LANG, NEUROX_EVENT, NEUROX_SITE and NEUROX_TEXT in its environment. On its standard input
 * comes one JSON object, or, when tell.mail_to is set, a mail with its headers (for sendmail
 * -t). After the time-out the whole group is killed. What a broken command does is one line in
 * the node's log and nothing else: it runs on a thread of its own, and nobody waits for it.
 *
 *   plan.waits    a plan waits for approval        round.refused  a rule of the policy held
 *   end.near      a certificate or an ethics protocol ends soon
 *   budget.near   four fifths of a privacy cap are spent (NX_BUDGET_NEAR)
 *   policy.broken policy.yaml cannot be understood: no round runs */
#pragma once

#include "node/policy/site_policy.h"

struct nx_teller;

int nx_teller_create(const char *site, struct nx_teller **teller_out, struct nx_error *err);
/* Gives commands that still run two seconds, then leaves. NULL is fine. */
void nx_teller_destroy(struct nx_teller *teller);
NX_DEFINE_CLEANUP(struct nx_teller *, nx_teller_destroy)

/* Never blocks, never fails; tell NULL: nobody wants to know. Any thread. */
void nx_tell(struct nx_teller *teller, const struct nx_site_policy_tell *tell, const char *event,
             const char *text);
