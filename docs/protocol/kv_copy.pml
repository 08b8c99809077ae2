/* Copies of KV between ranks, small enough to be checked completely (spin): docs/protocol/README.md says what is modelled,
 * what is not, and which function of the code each transition is. Numbers in brackets are the rules of
 * docs/epoch_protocol.md.
 *
 * Request X runs on the source and comes to the taker, by a copy and by computing the rest. Request Y takes X's blocks on
 * the source; request Z takes blocks on the taker. A block has two positions.
 * -DYS=n             how often Y comes                   -DZS=n     how often Z comes
 * -DDROPS=n          how often X is dropped and assigned again
 * -DKILL, -DCRASH    the source may end like that, at any point
 * -DMUTANT_...       one rule broken on purpose
 */
#ifndef YS
#define YS 1
#endif
#ifndef DROPS
#define DROPS 0
#endif
#ifndef ZS
#define ZS 0
#endif
#define X 1
#define Y 2
#define Z 3
#define KNOWN 3    /* tokens of X that the taker is told; the last is what it must compute itself [26] */
#define LENGTH 3   /* that X reaches on the source */
#define Y_LENGTH 2
#define CONTENT(request, position) ((request) * 4 + (position))
#define SCRATCH 1  /* what a step leaves at a position before it is committed */
#define GARBAGE 2  /* of a rank that is about to crash */

/* The source's memory, which the mover reads, also when the source has ended. A sequence's first block is block 0: the one
 * that was given back last is taken first. */
byte kv[4], stamp[2];
byte version, rec_request, rec_tokens, rec_blocks, rec_generation[2];

mtype = { LIVES, MAD, KILLED, CRASHED };
mtype life = LIVES; /* MAD: about to crash: it takes part in nothing any more, and writes anything */
bool must_end;      /* killed from outside */

/* An exchange of the group. The source's part, its results, comes after the taker's rows, which begin it [5]. */
bool has_begun, took_part;
/* The exchanges that the taker has completed, as far as they matter: since the mover of a reservation read their number,
 * when its copy was over. What it reads may be one less than it is: another thread counts. */
#ifndef LEAST
#define LEAST 3 /* the first may have begun before the copy was over; one more for the number that was read */
#endif
byte n_since[3];
bool is_copying, is_copied[3];

/* ------------------------------------------------------------------------------------------------ the source */

#define TAKE_STAMP(b) stamp[b]++
#ifdef MUTANT_STAMP_LATE
#define STAMP_FIRST skip
#define STAMP_LAST if :: is_late -> TAKE_STAMP(late); is_late = false :: else fi
#else
#define STAMP_FIRST TAKE_STAMP(n_blocks)
#define STAMP_LAST skip
#endif

inline take_part() {
  atomic { has_begun && !took_part -> took_part = true }
}

/* [22] the stamp before anybody's first write; [21] the record names block and generation. */
inline take_block() {
  atomic {
    STAMP_FIRST;
#ifdef MUTANT_STAMP_LATE
    is_late = true; late = n_blocks
#endif
  }
  if
  :: n_blocks == 0 -> /* a record is opened: odd while it changes [27] */
     version++; rec_request = running; version++
  :: else
  fi;
  rec_generation[n_blocks] = stamp[n_blocks] + is_late;
  atomic { n_blocks++; rec_blocks = n_blocks }
}

inline give_back() {
  version++; rec_request = 0; atomic { rec_tokens = 0; rec_blocks = 0 }
  atomic { version++; n_blocks = 0; computed = 0; running = 0 }
}

#define LIMIT (running == X -> LENGTH : Y_LENGTH)

/* What a step computes lies in the blocks at once; only its commit says so [12]. A void step is computed again. */
inline compute() {
  if
  :: computed / 2 >= n_blocks -> take_block()
  :: else
  fi;
  kv[computed] = SCRATCH;
  if
  :: kv[computed] = CONTENT(running, computed); STAMP_LAST; atomic { computed++; rec_tokens = computed }
  :: voids > 0 -> atomic { voids--; /* void */
#ifdef MUTANT_GENERATION_UNDONE
     stamp[computed / 2]--
#endif
     }
  fi
}

#define FORGET running = 0; computed = 0; n_blocks = 0; ys = 0; voids = 0 /* fewer states */

proctype source() {
  byte running = X, computed = 1, n_blocks = 1, ys = YS, voids = 1, late;
  bool is_late;
  {
  end_between:
    do
    :: take_part()
    :: running != 0 && computed < LIMIT -> compute()
    :: running == X && ys > 0 -> give_back()    /* preempted, dropped or finished */
    :: running == Y && computed == Y_LENGTH -> give_back()
    :: atomic { running == 0 && ys > 0 -> ys--; running = Y }
    :: atomic { running == 0 && ys == 0 -> running = X }
    od
  } unless {
    if
    :: atomic { must_end -> life = KILLED; FORGET }
#ifdef CRASH
    :: atomic { life == MAD -> kv[0] = GARBAGE }
       if
       :: kv[2] = GARBAGE
       :: rec_tokens = LENGTH
       :: skip
       fi;
       atomic { life = CRASHED; FORGET }
#endif
    fi
  };
end_ended:
  false
}

proctype fate() {
end_fate:
  if
#ifdef KILL
  :: must_end = true
#endif
#ifdef CRASH
  :: life = MAD
#endif
  :: false
  fi
}

/* ------------------------------------------------------------------------------------------------- the taker */

#define TAKER_BLOCKS 4
#define RESERVATIONS 2
#define AS_REQUEST(request) (8 + (request)) /* a holder; below: a reservation's number */
mtype = { ASSIGN, DROP, TAKE_OVER, SOURCE_ENDED };

byte to_kv[8], holder[TAKER_BLOCKS];
byte reserved_block[6]; /* of reservation r: 2 * r, 2 * r + 1 */
byte n_reserved;        /* reservations that are open */

chan to_taker = [4] of { mtype, byte, bool };
chan finished = [2] of { byte };
chan jobs = [2] of { byte, byte };         /* reservation; attempt, for a broken rule alone */
chan copied = [2] of { byte, byte, byte }; /* reservation, tokens; attempt */

/* Copies what the record speaks of and says how much of it counts. It always answers [25]. */
proctype mover() {
  byte r, attempt, tries, v, request, n_tokens, n_blocks, i, n_good;
  byte generation[2];

end_idle:
  do
  :: atomic { jobs ? r, attempt -> is_copying = true; tries = 0 };
  read:
     v = version;
     if
     :: v % 2 == 1 ->
#ifdef MUTANT_WAITS_FOR_ODD
        version != v -> goto read
#else
        if
        :: tries == 0 -> tries = 1; goto read
        :: else -> goto nothing /* [27] */
        fi
#endif
     :: else
     fi;
     request = rec_request; n_tokens = rec_tokens; n_blocks = rec_blocks;
     generation[0] = rec_generation[0]; generation[1] = rec_generation[1];
#ifndef MUTANT_NO_VERSION_CHECK
     if
     :: version != v ->
        if
        :: tries == 0 -> tries = 1; goto read
        :: else -> goto nothing
        fi
     :: else
     fi;
#endif
     if
     :: request != X || n_tokens == 0 -> goto nothing
     :: else
     fi;
#ifdef MUTANT_STAMPS_ALONE /* before and after, and not what the record says */
     generation[0] = stamp[0]; generation[1] = stamp[1];
#endif
     atomic {
#ifdef MUTANT_COPY_PAST_COMMIT
       n_tokens = n_blocks * 2;
#endif
#ifdef MUTANT_CREDIT_ALL
       n_tokens = (n_tokens > KNOWN -> KNOWN : n_tokens);
#else
       n_tokens = (n_tokens > KNOWN - 1 -> KNOWN - 1 : n_tokens);
#endif
       i = 0
     }
     do
     :: atomic { i < n_tokens ->
          assert(holder[reserved_block[2 * r + i / 2]] == r); /* [23] nobody else's block */
          to_kv[reserved_block[2 * r + i / 2] * 2 + i % 2] = kv[i]; i++ }
     :: i == n_tokens -> break
     od;
     atomic { i = 0; n_good = n_tokens }
     do
     :: atomic { i * 2 < n_good ->
#ifndef MUTANT_NO_STAMP_CHECK
          if
          :: i >= n_blocks || stamp[i] != generation[i] -> n_good = i * 2 /* [21] */
          :: else
          fi;
#endif
          i++ }
     :: i * 2 >= n_good -> break
     od;
     atomic {
       is_copied[r] = true;
       if
       :: n_since[r] = 1 /* the number that was read is old */
       :: skip
       fi
     }
     atomic { copied ! r, n_good, attempt; goto over }
  nothing:
#ifndef MUTANT_MOVER_SILENT
     copied ! r, 0, attempt;
#endif
  over:
     atomic { is_copying = false; r = 0; attempt = 0; tries = 0; v = 0; request = 0; n_tokens = 0; n_blocks = 0; i = 0; n_good = 0;
              generation[0] = 0; generation[1] = 0 }
  od
}

mtype = { ABSENT, PENDING, READY };

#define N_FREE ((holder[0] == 0) + (holder[1] == 0) + (holder[2] == 0) + (holder[3] == 0))
#define LOWEST_FREE (holder[0] == 0 -> 0 : (holder[1] == 0 -> 1 : (holder[2] == 0 -> 2 : 3)))
#define WANTED (is_live -> KNOWN : KNOWN - 1)
#define IS_RIGHT(p) (to_kv[table[(p) / 2] * 2 + (p) % 2] == CONTENT(X, p))

inline let_go(who) {
  for (i : 0 .. TAKER_BLOCKS - 1) {
    if
    :: holder[i] == who -> holder[i] = 0
    :: else
    fi
  }
  i = 0
}

inline take_two(who, first, second) {
  first = LOWEST_FREE; holder[first] = who;
  second = LOWEST_FREE; holder[second] = who
}

/* Blocks go from the reservation to the request, or, if that is gone, back [24]. */
inline arrived(which) {
  n_reserved--;
  n_copied[which] = 0; is_copied[which] = false; n_since[which] = 0; counts[which] = false;
  if
  :: x == PENDING && reservation == which && credit > 0 ->
     table[0] = reserved_block[2 * which]; table[1] = reserved_block[2 * which + 1];
     holder[table[0]] = AS_REQUEST(X); holder[table[1]] = AS_REQUEST(X);
     has_blocks = true; computed = credit;
     for (i : 0 .. KNOWN - 1) { assert(i >= computed || IS_RIGHT(i)) }
     i = 0;
     x = READY; reservation = 0
  :: x == PENDING && reservation == which && credit == 0 -> let_go(which); x = READY; reservation = 0
  :: else -> let_go(which)
  fi;
  credit = 0
}

/* [28] A copy that is over waits for an exchange that its source took part in, begun after it, of a step that was
 * committed; or for its end. */
inline hear_copied() {
#ifdef MUTANT_CREDIT_AT_ONCE
  credit = n; arrived(r)
#else
  if
  :: n == 0 || counts[r] -> credit = n; arrived(r)
  :: n > 0 && !counts[r] && has_ended -> credit = (is_trusted -> n : 0); arrived(r)
  :: else -> n_copied[r] = n
  fi
#endif
}

inline settle(which, is_good) {
  if
  :: n_copied[which] > 0 -> credit = (is_good -> n_copied[which] : 0); arrived(which)
  :: else
  fi
}

proctype step_thread() {
  byte attempt, a, computed, reservation, r, n, credit, i, next = 1, zs = ZS, z_block;
  byte table[2], n_copied[3];
  bool counts[3]; /* since the last commit */
  bool is_live, m, has_blocks, has_ended, is_trusted, z_runs;
  mtype x = ABSENT;
#ifdef MUTANT_BY_REQUEST
  bool is_swapped;
#endif

end_between:
  do
  :: atomic { to_taker ? ASSIGN(attempt, is_live) ->
       computed = 0; has_blocks = false;
       if
       :: next <= RESERVATIONS && N_FREE >= 2 && !has_ended -> /* reserve() */
          take_two(next, reserved_block[2 * next], reserved_block[2 * next + 1]);
          reservation = next; n_reserved++; x = PENDING;
          jobs ! next, attempt; next++
       :: else -> x = READY /* computed as without a source */
       fi }
  :: atomic { to_taker ? DROP(a, m) ->
#ifdef MUTANT_BACK_BEFORE_MOVER
       if
       :: x == PENDING -> let_go(reservation)
       :: else
       fi;
#endif
       let_go(AS_REQUEST(X)); x = ABSENT; reservation = 0; computed = 0; has_blocks = false;
       attempt = 0; is_live = false; table[0] = 0; table[1] = 0 }
  :: atomic { to_taker ? TAKE_OVER(attempt, m) -> is_live = true; m = false }
  :: atomic { to_taker ? SOURCE_ENDED(a, m) ->
       has_ended = true; is_trusted = m; a = 0; m = false;
       settle(1, is_trusted); settle(2, is_trusted) }
  :: atomic { copied ? r, n, a ->
#ifdef MUTANT_BY_REQUEST /* whatever reservation the request has by now */
       if
       :: x == PENDING && reservation > r -> is_swapped = true;
          is_copied[reservation] = is_copied[r]; n_since[reservation] = n_since[r]; r = reservation
       :: is_swapped && r == 2 -> r = 1
       :: else
       fi;
#endif
#ifdef MUTANT_BY_ATTEMPT
       if
       :: x == PENDING && a != attempt -> goto not_ours
       :: else
       fi;
#endif
       hear_copied();
#ifdef MUTANT_BY_ATTEMPT
     not_ours:
#endif
       r = 0; n = 0; a = 0 }
  /* Those before a copy is begun, or when it counts, change nothing; a wait that never ends must not hide behind them. */
  :: atomic { !has_begun && !has_ended && life == LIVES &&
              (is_copying || (is_copied[1] && !counts[1]) || (is_copied[2] && !counts[2])) ->
       has_begun = true; took_part = false }
  :: atomic { has_begun && took_part -> /* completed */
       has_begun = false; took_part = false;
       for (i : 1 .. RESERVATIONS) {
         if
         :: is_copied[i] && n_since[i] < LEAST -> n_since[i]++
         :: else
         fi
       }
       i = 0;
       if
       :: skip /* there are more in its step */
       :: counts[1] = is_copied[1] && n_since[1] == LEAST; counts[2] = is_copied[2] && n_since[2] == LEAST; /* committed */
          if
          :: counts[1] -> settle(1, true)
          :: else
          fi;
          if
          :: counts[2] -> settle(2, true)
          :: else
          fi
       fi }
  :: atomic { has_begun && !took_part && life != LIVES -> has_begun = false /* void */ }
#ifdef MUTANT_PLAN_WHILE_PENDING
  :: atomic { x == PENDING -> credit = KNOWN - 1; r = reservation; n_reserved++; arrived(r); r = 0 }
#endif
  :: atomic { x == READY && computed < WANTED && !has_blocks && N_FREE >= 2 ->
       take_two(AS_REQUEST(X), table[0], table[1]); has_blocks = true }
  :: atomic { x == READY && computed < WANTED && has_blocks ->
       assert(holder[table[computed / 2]] == AS_REQUEST(X));
       to_kv[table[computed / 2] * 2 + computed % 2] = CONTENT(X, computed); computed++;
       if
       :: computed == KNOWN -> /* the last token's row gives the next one: over its whole history */
          for (i : 0 .. KNOWN - 1) { assert(IS_RIGHT(i)) }
          i = 0;
          finished ! attempt;
          let_go(AS_REQUEST(X)); x = ABSENT; computed = 0; has_blocks = false; table[0] = 0; table[1] = 0
       :: else
       fi }
  :: atomic { zs > 0 && !z_runs && N_FREE > 0 ->
       zs--; z_runs = true; z_block = LOWEST_FREE; holder[z_block] = AS_REQUEST(Z); to_kv[z_block * 2] = CONTENT(Z, 0) }
  :: atomic { z_runs -> assert(to_kv[z_block * 2] == CONTENT(Z, 0)); let_go(AS_REQUEST(Z)); z_runs = false; z_block = 0 }
  od
}

/* -------------------------------------------------------------------------------------- the journal and the front */

#ifdef MUTANT_TRUST_ALL
#define IS_TRUSTED true
#else
#define IS_TRUSTED (life == KILLED)
#endif

proctype front() {
  byte attempt = 1, a, drops = DROPS;
  bool is_live, is_over, told;
  if
  :: is_live = true /* of a rank that was fenced */
  :: skip           /* a replay beside its source */
  fi;
  to_taker ! ASSIGN(attempt, is_live);
  do
  :: atomic { drops > 0 && !is_over && nfull(to_taker) && len(to_taker) < 3 ->
       drops--; attempt++; to_taker ! DROP(0, false); to_taker ! ASSIGN(attempt, is_live) }
  :: atomic { !is_live && !is_over && nfull(to_taker) -> attempt++; is_live = true; to_taker ! TAKE_OVER(attempt, false) }
  :: atomic { !told && (life == KILLED || life == CRASHED) && nfull(to_taker) ->
       told = true; to_taker ! SOURCE_ENDED(0, IS_TRUSTED) }
  :: atomic { finished ? a -> is_over = is_over || a == attempt; a = 0 }
  :: is_over && n_reserved == 0 -> break /* it came to its end, and no block is kept */
  od;
end_done:
  do
  :: atomic { !told && (life == KILLED || life == CRASHED) -> told = true; to_taker ! SOURCE_ENDED(0, IS_TRUSTED) }
  :: finished ? a
  od
}

init {
  atomic {
    kv[0] = CONTENT(X, 0);
    stamp[0] = 1;
    rec_request = X; rec_tokens = 1; rec_blocks = 1; rec_generation[0] = 1;
    run source(); run fate();
    run mover(); run step_thread(); run front()
  }
}
