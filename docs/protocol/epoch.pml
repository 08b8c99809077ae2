/* The epoch protocol, small enough to be checked completely (spin): docs/protocol/README.md says what is modelled, what
 * is not, and which function of the code each transition is. Numbers in brackets are the rules of docs/epoch_protocol.md.
 *
 * Ranks 0, 1, 2 are in epoch 1; rank 3 is a joiner. One request, first on rank 2, which leaves in the scale-down.
 * -DUP, -DDOWN       the operations, in this order if both
 * -DCRASHES=n        ranks that end at any point          -DFENCES=n   ranks that are given up though they live
 * -DVICTIM=r         that rank alone ends                -DTOKENS=n   tokens of the request
 * -DMUTANT_...       one rule broken on purpose
 */
#ifndef TOKENS
#define TOKENS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef FENCES
#define FENCES 0
#endif
#define RANKS 4
#define EPOCHS 12
#define JOINER 3
#define LEAVER 2

mtype = { PREPARE, CANCEL, COMMIT, ENTER, FREEZE, RELEASE, ASSIGN, DROP, PREPARED, FLIPPED, FROZEN, TOKEN };

/* Control channels: ordered, one each way for each rank. Two numbers: epoch and ballot, or attempt and position. */
chan to_rank[RANKS] = [8] of { mtype, byte, byte };
chan from_rank[RANKS] = [8] of { mtype, byte, byte };

/* Exchange memory: written by one rank, read by the others. A header names (epoch, exchange counted from the epoch's start
 * modulo 4, enough to tell what two banks can hold); [1] its flag is the number of the target epoch. Data has a tag that
 * says for which exchange it was written: whoever reads must find the one it is in. */
#define POSITION(epoch, index) ((epoch) * 4 + (index))
#define SLOT(writer, reader, bank) ((writer) * 16 + (reader) * 4 + (bank))
#define DATA(writer, bank) ((writer) * 4 + (bank))
#ifdef MUTANT_TWO_BANKS
#define BANK(epoch, index) ((index) % 2)
#else
#define BANK(epoch, index) (((epoch) % 2) * 2 + (index) % 2) /* [3] */
#endif
byte dispatch[64], result[64], flags[64];
byte dispatch_data[16], result_data[16];

byte members[EPOCHS];  /* of each epoch: a bit for each rank */
byte in_epoch[RANKS];  /* where each rank is; 0: nowhere */
bool lives[RANKS];
bool fenced[RANKS];
byte crashes = CRASHES, fences = FENCES;
byte flip_after[EPOCHS]; /* 1 + the exchange after which the epoch ended, where somebody flipped: all must agree */

#define HAS(mask, rank) (((mask) >> (rank)) & 1)
#define BIT(rank) (1 << (rank))

/* ------------------------------------------------------------------------------------------------ a rank */

#define HERE POSITION(epoch, index)
#define MY_BANK BANK(epoch, index)
#define CAME(slots, p) (!HAS(members[epoch], p) || p == me || slots[SLOT(p, me, MY_BANK)] == HERE) /* [2] */
#define ALL_CAME(slots) (CAME(slots, 0) && CAME(slots, 1) && CAME(slots, 2) && CAME(slots, 3))
#define STARTED(p, e, i) (HAS(members[e], p) && p != me && dispatch[SLOT(p, me, BANK(e, i))] == POSITION(e, i))
#define SOMEBODY_STARTED(e, i) (STARTED(0, e, i) || STARTED(1, e, i) || STARTED(2, e, i) || STARTED(3, e, i))

#ifdef MUTANT_DROP_LATER_EPOCH
#define IS_DROPPED(p) (in_epoch[p] != epoch) /* the reader is not there yet */
#else
#define IS_DROPPED(p) false
#endif

#define FLAG(value) flags[SLOT(me, p, MY_BANK)] = value
#define WRITE_HEADERS(slots, data, with) \
  data[DATA(me, MY_BANK)] = HERE; \
  for (p : 0 .. RANKS - 1) { \
    if \
    :: HAS(members[epoch], p) && p != me && !IS_DROPPED(p) -> \
       slots[SLOT(me, p, MY_BANK)] = HERE; \
       with \
    :: else \
    fi \
  }

/* Nobody writes into a bank that somebody still reads; what a fenced rank reads has no effect. */
#define READ_DATA(data) \
  for (p : 0 .. RANKS - 1) { \
    assert(!HAS(members[epoch], p) || fenced[me] || data[DATA(p, MY_BANK)] == HERE) \
  }

/* [1] All flags equal and not 0. Flags of the first exchange only. */
inline decide_flip() {
  flip = carried;
  for (p : 0 .. RANKS - 1) {
    if
    :: HAS(members[epoch], p) && p != me && flags[SLOT(p, me, MY_BANK)] != carried -> flip = 0
    :: else
    fi
  }
#ifdef MUTANT_FLIP_WITHOUT_ALL_FLAGS
  flip = carried
#endif
}

inline enter(e) {
  assert(e > epoch); /* [1] only ever a higher number */
  if
  :: HAS(members[e], me) -> epoch = e
  :: else -> epoch = 0; has_left = true
  fi;
#ifndef MUTANT_LATE_COMMIT
  commit_to = 0;
#endif
  index = 0; is_void = false; frozen = 0;
  in_epoch[me] = epoch;
  from_rank[me] ! FLIPPED(e, 0)
}

inline tell_token() {
  if
  :: in_batch -> from_rank[me] ! TOKEN(attempt, length); length++
  :: else
  fi
}

inline void_step() { /* [7] [12] what was not committed never was */
  assert(!told || fenced[me]);
  in_batch = false; told = false; is_void = true
}

inline obey() {
  if
  :: kind == PREPARE -> prepared = a; from_rank[me] ! PREPARED(a, 0)
  :: kind == CANCEL -> prepared = (prepared == a -> 0 : prepared)
  :: kind == COMMIT ->
#ifdef MUTANT_LATE_COMMIT
     commit_to = b
#else
     commit_to = (epoch == a && frozen == 0 && !is_void -> b : commit_to) /* [4] */
#endif
  :: kind == FREEZE -> /* [6] after the tokens of all steps before, on the same channel */
     if
     :: a > frozen ->
        frozen = a; is_void = true;
#ifndef MUTANT_LATE_COMMIT
        commit_to = 0;
#endif
        from_rank[me] ! FROZEN(a, 0)
     :: else
     fi
  :: kind == ENTER ->
     if
     :: b == frozen && a > epoch && !has_left -> enter(a)
     :: else
     fi
  :: kind == ASSIGN -> has_request = true; attempt = a; length = b
  :: kind == DROP -> has_request = (attempt == a -> false : has_request)
  :: kind == RELEASE -> is_released = true
  fi
}

#ifdef VICTIM
#define MAY_END (crashes > 0 && lives[me] && !fenced[me] && me == VICTIM)
#else
#define MAY_END (crashes > 0 && lives[me] && !fenced[me])
#endif
#define MUST_STOP (to_rank[me] ?? [FREEZE, _, _])

proctype rank(byte me) {
  byte epoch, index, exchange, carried, flip, frozen, commit_to, prepared, attempt, length, a, b, p;
  bool has_request, in_batch, told, is_void, has_left, is_released;
  mtype kind;
  epoch = (me == JOINER -> 0 : 1);
  in_epoch[me] = epoch;
  if
  :: me == LEAVER -> has_request = true; attempt = 1
  :: else
  fi;

end_between:
  do
  :: atomic { to_rank[me] ? kind(a, b) -> obey(); a = 0; b = 0; p = 0; kind = 0 }
  :: atomic { is_released || fenced[me] -> lives[me] = false; goto end_dead }
  :: atomic { MAY_END -> crashes--; lives[me] = false; goto end_dead }
  :: atomic { epoch == 0 && !has_left && frozen == 0 && prepared != 0 && SOMEBODY_STARTED(prepared, 0) -> /* [11] */
       enter(prepared) }
  :: atomic { epoch != 0 && frozen == 0 && !is_void && !is_released &&
              ((has_request && length < TOKENS) || commit_to != 0 || SOMEBODY_STARTED(epoch, index)) -> /* [4] */
       in_batch = has_request && length < TOKENS; exchange = 0; carried = commit_to;
       WRITE_HEADERS(dispatch, dispatch_data, FLAG(carried)); p = 0;
       goto await_dispatch }
  od;

await_dispatch:
  do
  :: atomic { ALL_CAME(dispatch) ->
       if
       :: exchange == 0 -> decide_flip()
       :: else
       fi;
       p = 0; goto compute }
  :: atomic { MUST_STOP -> void_step(); goto end_between }
  :: atomic { fenced[me] -> lives[me] = false; goto end_dead }
  :: atomic { MAY_END -> assert(!told); crashes--; lives[me] = false; goto end_dead }
  od;

compute: /* [5] results only after all dispatch headers are in, and to every member */
  atomic {
    READ_DATA(dispatch_data);
    WRITE_HEADERS(result, result_data, skip); p = 0;
#ifdef MUTANT_JOURNAL_BEFORE_COMMIT
    if
    :: exchange == 1 && in_batch -> tell_token(); told = true
    :: else
    fi;
#endif
    goto await_results
  }

await_results:
  do
  :: atomic { ALL_CAME(result) -> goto combine }
  :: atomic { MUST_STOP -> void_step(); goto end_between }
  :: atomic { fenced[me] -> lives[me] = false; goto end_dead }
  :: atomic { MAY_END -> assert(!told); crashes--; lives[me] = false; goto end_dead }
  od;

combine:
  atomic {
    READ_DATA(result_data); p = 0;
    index = (index + 1) % 4;
    if
    :: exchange == 0 ->
       exchange = 1;
       WRITE_HEADERS(dispatch, dispatch_data, FLAG(0)); p = 0;
       goto await_dispatch
    :: else /* the step is committed */
    fi;
    if
    :: !told -> tell_token()
    :: else
    fi;
    in_batch = false; told = false; exchange = 0; carried = 0;
    if
    :: flip != 0 && !fenced[me] ->
       assert(flip_after[epoch] == 0 || flip_after[epoch] == 1 + index); /* all after the same step */
       flip_after[epoch] = 1 + index;
       enter(flip)
    :: else
    fi;
    flip = 0;
    goto end_between
  }

end_dead:
  do
  :: atomic { to_rank[me] ? kind(a, b) -> kind = 0; a = 0; b = 0 }
  od
}

/* ------------------------------------------------------------------------------- the coordinator and the journal */

mtype = { IDLE, PREPARING, COMMITTING, RECOVERING };

#define LOWEST(mask) (HAS(mask, 0) -> 0 : (HAS(mask, 1) -> 1 : (HAS(mask, 2) -> 2 : 3)))
#define SEND_ALL(mask, kind, x, y) \
  for (r : 0 .. RANKS - 1) { \
    if \
    :: HAS(mask, r) && !fenced[r] -> to_rank[r] ! kind(x, y) \
    :: else \
    fi \
  }

inline take_epoch() { /* [1] never used before; [3] of the other parity than the epoch in force */
  last_epoch++;
  last_epoch = (last_epoch % 2 == current % 2 -> last_epoch + 1 : last_epoch)
}

inline move_request(to) { /* [9] attempt and length in one action */
  attempt++;
  owner = to;
  to_rank[to] ! ASSIGN(attempt, journal)
}

inline begin_change(target) {
  take_epoch();
  plan = last_epoch;
  members[plan] = target;
  awaited = members[current] | members[plan];
  if
  :: !HAS(target, owner) -> /* [10] the leaver's request moves first, on the channel that COMMIT takes later */
     to_rank[owner] ! DROP(attempt, 0);
     move_request(LOWEST(target & members[current]))
  :: else
  fi;
  SEND_ALL(awaited, PREPARE, plan, 0);
  phase = PREPARING
}

inline fence_and_recover(victim) { /* [6] [7] [8] */
  fenced[victim] = true;
  entering = entering & ~BIT(victim);
  if
  :: phase == RECOVERING -> targets = members[plan]; concerned = frozen_wait | frozen_in
  :: phase == COMMITTING -> targets = members[plan]; concerned = members[current] | members[plan]
  :: else -> targets = members[current]; concerned = members[current];
     if
     :: phase == PREPARING -> SEND_ALL(members[current] | members[plan], CANCEL, plan, 0)
     :: else
     fi
  fi;
  for (r : 0 .. RANKS - 1) {
    if
    :: fenced[r] -> targets = targets & ~BIT(r); concerned = concerned & ~BIT(r)
    :: else
    fi
  }
  targets = (targets == 0 -> concerned : targets);
  assert(targets != 0);
  ballot++;
  take_epoch();
  plan = last_epoch;
  members[plan] = targets;
  if
  :: owner == victim -> move_request(LOWEST(targets))
  :: else
  fi;
  frozen_wait = concerned; frozen_in = 0;
  SEND_ALL(concerned, FREEZE, ballot, 0);
  phase = RECOVERING;
#ifdef MUTANT_NO_FREEZE_BARRIER
  frozen_in = frozen_wait; frozen_wait = 0;
  enter_recovered();
#endif
  targets = 0; concerned = 0
}

inline enter_recovered() {
  current = plan; plan = 0;
  entering = members[current];
  SEND_ALL(members[current], ENTER, current, ballot);
  SEND_ALL(frozen_in & ~members[current], RELEASE, 0, 0);
  if
  :: !HAS(members[current], owner) -> move_request(LOWEST(members[current]))
  :: else
  fi;
  frozen_in = 0; awaited = 0;
  phase = IDLE
}

inline hear(from) {
  if
  :: kind == TOKEN ->
#ifdef MUTANT_POSITION_ONLY
     if
     :: b == journal && journal < TOKENS ->
        assert(!fenced[from] && from == owner && a == attempt); journal++
#else
     if
     :: !fenced[from] && from == owner && a == attempt && b == journal -> journal++ /* [9] */
#endif
     :: else
     fi
  :: fenced[from] && kind != TOKEN /* nothing of it counts */
  :: !fenced[from] && kind == PREPARED && phase == PREPARING && a == plan -> awaited = awaited & ~BIT(from)
  :: !fenced[from] && kind == FLIPPED && a == current && HAS(entering, from) -> entering = entering & ~BIT(from)
  :: !fenced[from] && kind == FLIPPED && phase == COMMITTING && a == plan ->
     awaited = awaited & ~BIT(from);
     if
     :: !is_published -> is_published = true; SEND_ALL(members[plan] & ~members[current], ENTER, plan, 0)
     :: else
     fi
  :: !fenced[from] && kind == FROZEN && phase == RECOVERING && a == ballot ->
     frozen_wait = frozen_wait & ~BIT(from); frozen_in = frozen_in | BIT(from)
  :: else /* stale */
  fi
}

#define SEEN_DEAD(r) (!lives[r] && !fenced[r] && (HAS(members[current], r) || (phase != IDLE && HAS(members[plan], r))))
#define SUSPECT(r) (fences > 0 && lives[r] && !fenced[r] && HAS(members[current], r))
#define CHANGES_DONE (up_done && down_done)

proctype coordinator() {
  byte current = 1, plan, last_epoch = 1, ballot, awaited, entering, frozen_wait, frozen_in, targets, concerned, r, a, b;
  byte journal, owner = LEAVER, attempt = 1;
  bool is_published, up_done, down_done;
  mtype phase = IDLE, kind;
#ifndef UP
  up_done = true;
#endif
#ifndef DOWN
  down_done = true;
#endif

  do
  :: atomic { from_rank[0] ? kind(a, b) -> hear(0); a = 0; b = 0; r = 0; kind = 0 }
  :: atomic { from_rank[1] ? kind(a, b) -> hear(1); a = 0; b = 0; r = 0; kind = 0 }
  :: atomic { from_rank[2] ? kind(a, b) -> hear(2); a = 0; b = 0; r = 0; kind = 0 }
  :: atomic { from_rank[3] ? kind(a, b) -> hear(3); a = 0; b = 0; r = 0; kind = 0 }

  :: atomic { phase == IDLE && !up_done ->
       if
       :: HAS(members[current], JOINER) || fenced[JOINER] || !lives[JOINER] -> up_done = true
       :: else -> begin_change(members[current] | BIT(JOINER))
       fi;
       r = 0 }
  :: atomic { phase == IDLE && up_done && !down_done ->
       if
       :: !HAS(members[current], LEAVER) || members[current] == BIT(LEAVER) -> down_done = true
       :: else -> begin_change(members[current] & ~BIT(LEAVER))
       fi;
       r = 0 }
  :: atomic { phase == PREPARING && awaited == 0 && entering == 0 -> /* [3] [8] the point of no return */
       awaited = members[current] | members[plan];
       is_published = false;
       SEND_ALL(members[current], COMMIT, current, plan);
       phase = COMMITTING; r = 0 }
  :: atomic { phase == COMMITTING && awaited == 0 -> /* [10] a leaver goes when all have flipped */
       SEND_ALL(members[current] & ~members[plan], RELEASE, 0, 0);
       current = plan; plan = 0; is_published = false; phase = IDLE; r = 0 }
  :: atomic { phase == RECOVERING && frozen_wait == 0 -> enter_recovered(); r = 0 }

  :: atomic { SEEN_DEAD(0) -> fence_and_recover(0); r = 0 }
  :: atomic { SEEN_DEAD(1) -> fence_and_recover(1); r = 0 }
  :: atomic { SEEN_DEAD(2) -> fence_and_recover(2); r = 0 }
  :: atomic { SEEN_DEAD(3) -> fence_and_recover(3); r = 0 }
  :: atomic { SUSPECT(0) -> fences--; fence_and_recover(0); r = 0 }
  :: atomic { SUSPECT(1) -> fences--; fence_and_recover(1); r = 0 }
  :: atomic { SUSPECT(2) -> fences--; fence_and_recover(2); r = 0 }

  :: atomic { phase == IDLE && CHANGES_DONE && entering == 0 && journal == TOKENS -> break }
  od;
  assert(journal == TOKENS);
end_done:
  do
  :: atomic { from_rank[0] ? kind(a, b) -> kind = 0; a = 0; b = 0 }
  :: atomic { from_rank[1] ? kind(a, b) -> kind = 0; a = 0; b = 0 }
  :: atomic { from_rank[2] ? kind(a, b) -> kind = 0; a = 0; b = 0 }
  :: atomic { from_rank[3] ? kind(a, b) -> kind = 0; a = 0; b = 0 }
  od
}

init {
  atomic {
    members[1] = 7;
    lives[0] = true; lives[1] = true; lives[2] = true; lives[JOINER] = true;
    run rank(0); run rank(1); run rank(2); run rank(3);
    run coordinator()
  }
}
