/* Secure aggregation, as a game against a coordinator that lies.
 *
 * The coordinator and NC corrupt nodes work together: they sign anything, and they know
 * their own shares of everything. So one process is enough, `coordinator`: its endless
 * loop is the adversary's free choice of who is asked for what, and when. What the honest
 * nodes answer is fixed by the rules of the protocol; those are the inlines upload, vote,
 * crash, join and release below, one for each message a node sends.
 *
 *     attempt 1:  upload (M5) -> vote COMMIT(list) or ABORT (M7) -> release shares (M9)
 *     attempt 2:  join, under conditions -> the same again
 *
 * A "list" is U3: whose uploads the coordinator claims to have. After every action the
 * invariants I1..I6 are asserted about what the adversary can now compute.
 *
 * docs/spin/README.md says what is left out and why that is sound, and how to run this.
 * Every MUTANT_… takes one rule out; Spin then shows the attack that the rule prevents. */

#define N 7            /* members: H honest, NC corrupt */
#define NC 2
#define H 5
#define QUORUM 5       /* t: 2t > N + NC */
#define ATTEMPTS 2

/* What nodes count votes and shares against. */
#ifdef MUTANT_THRESHOLD
#define T (QUORUM - 1)
#else
#define T QUORUM
#endif

#ifndef CRASHES
#define CRASHES 1      /* restarts of honest nodes, in all */
#endif

/* The lists the coordinator uses: numbers FIRST_LIST and up, of attempt 1 then 2. */
#ifndef LISTS_1
#define LISTS_1 2
#endif
#ifndef LISTS_2
#define LISTS_2 1
#endif

/* ---- what an honest node remembers ---------------------------------------------------- */

#define NOTHING 0      /* a vote not given, shares not released */
#define ABORT 1
#define FIRST_LIST 2   /* any number from here on: COMMIT to that list */

/* The one honest node whose input is followed from attempt to attempt. For all others it
 * does not matter what they put in: they upload whenever they can. */
#define WATCHED 0

typedef Attempt {
  byte vote[H];        /* durable: on disk before it is sent */
  byte old_vote[H];    /* what a vote was before a crash lost it; the adversary kept it */
  byte released[H];    /* the list for which it gave its shares away */
  bit has_shares[H];   /* in memory only: gone after a crash, or when no more use can come */
  bit uploaded         /* the watched node sent its masked input */
};
Attempt at[ATTEMPTS];

byte lists[H];         /* bit k: the node is on list FIRST_LIST + k */
byte now_in[H];        /* the attempt a node works in: 0, then 1 */
bit same_input;        /* the watched node brought its old input to attempt 2 */
byte crashes;

/* ---- counting, over the five honest nodes ---------------------------------------------- */

/* Twice the same, because a macro may not be used inside itself. */
#define COUNT(f, a, x) (f(a, x, 0) + f(a, x, 1) + f(a, x, 2) + f(a, x, 3) + f(a, x, 4))
#define NODES(f, a, x) (f(a, x, 0) + f(a, x, 1) + f(a, x, 2) + f(a, x, 3) + f(a, x, 4))

#define on_list(list, i) ((lists[i] >> ((list) - FIRST_LIST)) & 1)
#define is_member(a, list, i) on_list(list, i)
#define honest_on(list) COUNT(is_member, 0, list)

#define voted(a, v, i) (at[a].vote[i] == v || at[a].old_vote[i] == v)
#define certified(a, v) (NC + COUNT(voted, a, v) >= T)

/* ---- what the adversary knows: every share of its own, and what was released ----------- */

/* Who releases for a list gives the b-share of everyone on it, the s-share of the rest. */
#define gave_b(a, v, i) (at[a].released[i] != NOTHING && on_list(at[a].released[i], v))
#ifdef MUTANT_OVERLAP
#define gave_s(a, v, i) (at[a].released[i] != NOTHING)
#else
#define gave_s(a, v, i) (at[a].released[i] != NOTHING && !on_list(at[a].released[i], v))
#endif
#define knows_b(a, v) (NC + COUNT(gave_b, a, v) >= T)
#define knows_s(a, v) (NC + COUNT(gave_s, a, v) >= T)

/* Node v's masks in attempt a are no obstacle: its own is known, or those it shares. */
#define takes_part(a, v) (a == 0 || now_in[v] == 1)
#define resolved(a, x, v) (!takes_part(a, v) || knows_b(a, v) || knows_s(a, v))
#define in_sum(a, x, v) (takes_part(a, v) && knows_b(a, v))
#define inputs_in_sum(a) NODES(in_sum, a, 0)
#define opened(a) (NODES(resolved, a, 0) == H && inputs_in_sum(a) > 0)

/* ---- the invariants -------------------------------------------------------------------- */

#define both_seeds(a, x, v) (knows_b(a, v) && knows_s(a, v))
#define I1(a) (NODES(both_seeds, a, 0) == 0)

#ifdef MUTANT_FORGETS_VOTE   /* breaks I2 as such: what follows from it? */
#define I2(a) true
#else
#define second_vote(a, x, i) (at[a].old_vote[i] != NOTHING && at[a].old_vote[i] != at[a].vote[i])
#define I2(a) (NODES(second_vote, a, 0) == 0)
#endif

#define list_certified(k) (LISTS_1 > k && certified(0, FIRST_LIST + k))
#define certificates (certified(0, ABORT) + list_certified(0) + list_certified(1) + list_certified(2))
#define I3 (certificates <= 1)

#ifdef MUTANT_NO_CERTIFICATE /* breaks I4 as such: what follows from it? */
#define I4(a, i) true
#else
#define I4(a, i) (at[a].vote[i] >= FIRST_LIST && certified(a, at[a].vote[i]))
#endif

#define I5(a) (!opened(a) || inputs_in_sum(a) >= QUORUM - NC)

#define differs(a, x, v) (in_sum(0, 0, v) != in_sum(1, 0, v))
#define input_in(a) (at[a].uploaded && in_sum(a, 0, WATCHED))
#define I6 (!(same_input && opened(0) && opened(1) && input_in(0) && input_in(1) \
              && NODES(differs, 0, 0) > 0))

inline check_invariants() {
  assert(I1(0) && I1(1));   /* no node's two seeds */
  assert(I2(0) && I2(1));   /* one vote an attempt, across crashes */
  assert(I3);               /* one certificate an attempt */
  assert(I5(0) && I5(1));   /* no sum of fewer than t - n_C honest inputs */
  assert(I6)                /* no input in two sums over different sets */
}

/* ---- what an honest node does ---------------------------------------------------------- */

#ifdef MUTANT_NO_CLOSING
#define works_in(a, i) (a <= now_in[i])
#else
#define works_in(a, i) (a == now_in[i])   /* joining attempt 2 closes attempt 1 */
#endif

/* M5. The bytes are spooled: sent again after a crash, never made again. */
#define may_upload(a) (works_in(a, WATCHED) && !at[a].uploaded)
inline send_upload(a) {
  printf("attempt %d: node %d uploads\n", a + 1, WATCHED);
  at[a].uploaded = 1
}

/* M7. At least T on the list (the corrupt ones say they are), all of whom dealt shares in
 * this attempt; a node that is on it has sent its upload. After a crash the shares are gone
 * and only ABORT is left to vote. */
#define absent(a, list, i) (on_list(list, i) && !takes_part(a, i))
#define has_sent(a, i) (i != WATCHED || at[a].uploaded)
#define may_vote(a, i) (works_in(a, i) && at[a].vote[i] == NOTHING)
#define may_commit(a, list, i) (may_vote(a, i) && at[a].has_shares[i] && NC + honest_on(list) >= T \
                                && COUNT(absent, a, list) == 0 && (!on_list(list, i) || has_sent(a, i)))
inline send_vote(a, v, i) {
  if
  :: v == ABORT -> printf("attempt %d: node %d votes ABORT\n", a + 1, i)
  :: else -> printf("attempt %d: node %d votes COMMIT to list %d\n", a + 1, i, v)
  fi;
  at[a].vote[i] = v;
  at[a].has_shares[i] = (v != ABORT && at[a].has_shares[i])
}

/* The vote is on disk, the shares were not. */
#define may_restart(a, i) (crashes < CRASHES && works_in(a, i) && at[a].has_shares[i])
inline restart(a, i) {
  printf("attempt %d: node %d crashes and starts again\n", a + 1, i);
  crashes++;
  at[a].has_shares[i] = 0;
#ifdef MUTANT_FORGETS_VOTE
  at[a].old_vote[i] = at[a].vote[i];
  at[a].vote[i] = NOTHING
#endif
}

/* M9. Only for the list of its own vote, and only when that list is certified. */
#ifdef MUTANT_NO_CERTIFICATE
#define is_certified(a, list) true
#else
#define is_certified(a, list) certified(a, list)
#endif
#define may_release(a, i) (works_in(a, i) && at[a].has_shares[i] && at[a].released[i] == NOTHING \
  && at[a].vote[i] >= FIRST_LIST && is_certified(a, at[a].vote[i]))
inline release_shares(a, i) {
  if
  :: may_release(a, i) ->
       assert(I4(a, i));    /* shares only for what the own vote certified */
       printf("attempt %d: node %d releases its shares for list %d\n", a + 1, i, at[a].vote[i]);
       at[a].released[i] = at[a].vote[i];
       at[a].has_shares[i] = 0
  :: else
  fi
}

/* Attempt 2: the old input only if attempt 1 is aborted for good, or nothing of it was ever
 * sent. Otherwise it counts as opened: new training, new noise, charged again. */
#ifdef MUTANT_OLD_INPUT
#define may_keep_input true
#else
#define may_keep_input (certified(0, ABORT) || !at[0].uploaded)
#endif
inline join_second(i) {
  printf("attempt 2: node %d joins\n", i);
  now_in[i] = 1;
#ifndef MUTANT_NO_CLOSING
  at[0].has_shares[i] = 0;
#endif
  if
  :: i == WATCHED && may_keep_input ->
       same_input = 1;
       printf("attempt 2: node %d keeps its old input\n", i)
  :: else
  fi
}

/* ---- the coordinator --------------------------------------------------------------------- */

/* The more it has been given the more it can compute, and an honest node that waits can
 * only crash or move on. So it asks for shares the moment there is a certificate. */
inline collect_shares(a) {
  release_shares(a, 0);
  release_shares(a, 1);
  release_shares(a, 2);
  release_shares(a, 3);
  release_shares(a, 4)
}

/* Honest nodes other than the watched one are interchangeable: of all their permutations
 * the one with ascending memories stands for all. */
#define memory(i) ((((((((lists[i] * 8 + at[0].vote[i]) * 8 + at[0].old_vote[i]) * 8 \
  + at[0].released[i]) * 8 + at[1].vote[i]) * 8 + at[1].old_vote[i]) * 8 + at[1].released[i]) * 2 \
  + at[0].has_shares[i]) * 4 + at[1].has_shares[i] * 2 + now_in[i])
#define swap(x, y) spare = x; x = y; y = spare
inline sort_two(i, j) {
  if
  :: memory(i) > memory(j) ->
       swap(lists[i], lists[j]);
       swap(now_in[i], now_in[j]);
       swap(at[0].vote[i], at[0].vote[j]);
       swap(at[0].old_vote[i], at[0].old_vote[j]);
       swap(at[0].released[i], at[0].released[j]);
       swap(at[0].has_shares[i], at[0].has_shares[j]);
       swap(at[1].vote[i], at[1].vote[j]);
       swap(at[1].old_vote[i], at[1].old_vote[j]);
       swap(at[1].released[i], at[1].released[j]);
       swap(at[1].has_shares[i], at[1].has_shares[j]);
       spare = 0
  :: else
  fi
}
byte spare;            /* for swapping; always 0 in between */
inline sort_nodes() {
  sort_two(1, 2); sort_two(2, 3); sort_two(3, 4);
  sort_two(1, 2); sort_two(2, 3);
  sort_two(1, 2)
}

/* What may be done next: one line for each action of node i. */
#define IN_ATTEMPT(a, i) \
  :: i == WATCHED && may_upload(a) -> send_upload(a) \
  :: may_restart(a, i) -> restart(a, i)
#define COMMIT(a, list, i) :: may_commit(a, list, i) -> send_vote(a, list, i)
#define FIRST_ATTEMPT(i) IN_ATTEMPT(0, i) \
  :: may_vote(0, i) -> send_vote(0, ABORT, i) \
  COMMIT(0, FIRST_LIST, i) COMMIT_TO_SECOND_LIST(i) COMMIT_TO_THIRD_LIST(i)
#if LISTS_1 > 1
#define COMMIT_TO_SECOND_LIST(i) COMMIT(0, FIRST_LIST + 1, i)
#else
#define COMMIT_TO_SECOND_LIST(i)
#endif
#if LISTS_1 > 2
#define COMMIT_TO_THIRD_LIST(i) COMMIT(0, FIRST_LIST + 2, i)
#else
#define COMMIT_TO_THIRD_LIST(i)
#endif
#if LISTS_2 > 0 /* no attempt comes after the second: there, ABORT is the same as silence */
#define SECOND_ATTEMPT(i) :: now_in[i] == 0 -> join_second(i) \
  IN_ATTEMPT(1, i) COMMIT(1, FIRST_LIST + LISTS_1, i)
#else
#define SECOND_ATTEMPT(i)
#endif
#define NODE(i) FIRST_ATTEMPT(i) SECOND_ATTEMPT(i)

/* Any lists at all, up to renaming the interchangeable nodes: ascending. With two attempts
 * the watched node is on every list, or its input would not come into two sums. */
inline choose_lists() {
  do
  :: lists[WATCHED] < ((1 << (LISTS_1 + LISTS_2)) - 1) -> lists[WATCHED]++
  :: lists[WATCHED] == ((1 << (LISTS_1 + LISTS_2)) - 1) || LISTS_2 == 0 -> break
  od;
  i = 1;
  do
  :: i < H ->
       lists[i] = (i == 1 -> 0 : lists[i - 1]);
       do
       :: lists[i] < ((1 << (LISTS_1 + LISTS_2)) - 1) -> lists[i]++
       :: break
       od;
       i++
  :: else -> break
  od;
  i = 0
}

active proctype coordinator() {
  byte i;
  atomic {
    choose_lists();
    do
    :: i < H -> at[0].has_shares[i] = 1; at[1].has_shares[i] = 1; i++
    :: else -> break
    od;
    printf("lists: node 0 %d, 1 %d, 2 %d, 3 %d, 4 %d (bit k: on list %d + k)\n", lists[0], lists[1],
           lists[2], lists[3], lists[4], FIRST_LIST);
    i = 0
  }
  do
  :: atomic {
       if
       NODE(0)
       NODE(1)
       NODE(2)
       NODE(3)
       NODE(4)
       fi;
       d_step {
         collect_shares(0);
         collect_shares(1);
         check_invariants();
         sort_nodes()
       }
     }
  od
}
