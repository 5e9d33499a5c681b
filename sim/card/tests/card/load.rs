//! Load errors: each check, and that the first in order is the one reported.

use unlade_sim_card::{Config, FaultPlan, Profile};

use crate::host::Host;
use crate::program::{
    Bytecode, I32, I128, MASK, U8, emit_mask, immediate, indexed, keep, load, reseal, seal, store,
    trap, validity, word,
};

// Statuses.
const LENGTH: u16 = 0x0301;
const MAGIC: u16 = 0x0302;
const VERSION: u16 = 0x0303;
const CHECKSUM: u16 = 0x0304;
const LIMIT: u16 = 0x0305;
const DECLARATION: u16 = 0x0306;
const OPERATION: u16 = 0x0308;
const TYPE: u16 = 0x0309;
const VARIANT: u16 = 0x030A;
const UNSUPPORTED: u16 = 0x030B;
const REGISTER: u16 = 0x030C;
const UNDEFINED: u16 = 0x030D;
const REGISTER_TYPE: u16 = 0x030E;
const INDEX: u16 = 0x030F;
const IMMEDIATE: u16 = 0x0310;
const RESERVED: u16 = 0x0311;
const ORDER: u16 = 0x0312;
const INCOMPLETE: u16 = 0x0313;

const NONE: u32 = u32::MAX;

/// Status, DW0 and DW1.
type Outcome = (u16, u32, u32);

/// A column, a parameter, a table, a set and two outputs; declarations from 64 to 88, padding to
/// 96, one constant, words from 112.
fn good() -> Bytecode {
    Bytecode {
        flags: 3,
        columns: vec![(I32, 1)],
        params: vec![I32],
        tables: vec![I32],
        sets: vec![I32],
        outputs: vec![(I32, 0), (I32, 1)],
        constants: vec![5],
        words: vec![
            load(I32, 0, 0),
            validity(0, 0),
            keep(0),
            emit_mask(),
            store(I32, 0, 0),
            indexed(word(0x8003, I32, I32, &[0xFF, 0, 0]), 1),
        ],
    }
}

#[test]
fn headers_are_refused_in_order() {
    let mut host = Host::new(Config::default());
    let good = good().bytes();
    assert_eq!(host.load(&good).0, 0);
    assert_eq!(host.load(&good[..56]), (LENGTH, NONE, 8));
    // Each with its checksum right, and with what the later checks would refuse.
    let cases: [(usize, &[u8], Outcome); 16] = [
        (0, b"X", (MAGIC, NONE, 0)),
        (4, &[2], (VERSION, NONE, 4)),
        (6, &[1], (VERSION, NONE, 4)),
        (8, &[0, 1], (LENGTH, NONE, 8)),
        (16, &[7], (RESERVED, NONE, 16)),
        (42, &[0, 0, 0, 0, 0, 1], (RESERVED, NONE, 42)),
        (56, &[0, 1], (RESERVED, NONE, 56)),
        (16, &[2], (ORDER, NONE, 16)),
        (20, &[0, 0, 3], (LIMIT, NONE, 20)),
        (24, &[1, 0, 1], (LIMIT, NONE, 24)),
        (28, &[1, 17], (LIMIT, NONE, 28)),
        (36, &[2, 17], (LIMIT, NONE, 36)),
        (38, &[33], (LIMIT, NONE, 38)),
        (40, &[33], (LIMIT, NONE, 40)),
        (24, &[2], (LENGTH, NONE, 8)),
        (28, &[6], (LENGTH, NONE, 8)),
    ];
    for (at, bytes, wanted) in cases {
        let mut wrong = good.clone();
        wrong[at..at + bytes.len()].copy_from_slice(bytes);
        // The last word means nothing, which is found after the header.
        let end = wrong.len();
        wrong[end - 16] = 0xEE;
        assert_eq!(host.load(&reseal(wrong)), wanted, "{bytes:?} at {at}");
    }
    let mut wrong = good.clone();
    wrong[13] ^= 1;
    wrong[16] = 7;
    assert_eq!(host.load(&wrong), (CHECKSUM, NONE, 12));
    let label = [&good[..48], &[0xFF; 8], &good[56..]].concat();
    assert_eq!(host.load(&reseal(label)).0, 0, "the label is not looked at");
}

#[test]
fn a_program_beyond_the_limit_is_refused_before_it_is_read() {
    let mut profile = Profile::full();
    profile.program_bytes = 128;
    let mut host = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    let before = host.card.counters().bus_read;
    assert_eq!(host.load(&[0; 129]), (LIMIT, NONE, 8));
    assert_eq!(
        host.card.counters().bus_read - before,
        64,
        "the entry alone"
    );
}

#[test]
fn declarations_are_refused_in_order() {
    let mut host = Host::new(Config::default());
    let good = good().bytes();
    let cases: [(usize, u8, Outcome); 9] = [
        (64, 0, (DECLARATION, NONE, 64)),
        (64, 13, (DECLARATION, NONE, 64)),
        (65, 2, (RESERVED, NONE, 64)),
        (66, 1, (RESERVED, NONE, 64)),
        (69, 1, (RESERVED, NONE, 68)),
        (76, MASK, (DECLARATION, NONE, 76)),
        (81, 2, (RESERVED, NONE, 80)),
        (87, 1, (RESERVED, NONE, 84)),
        (95, 1, (RESERVED, NONE, 88)),
    ];
    for (at, value, wanted) in cases {
        let mut wrong = good.clone();
        wrong[at] = value;
        assert_eq!(host.load(&reseal(wrong)), wanted, "byte {at}");
    }
}

/// Puts a word behind LOAD and VALIDITY, as word 2. V register 0 is an i32, M register 0 is set.
fn with_word(word: [u8; 16]) -> Bytecode {
    let mut program = good();
    program.words.insert(2, word);
    program
}

#[test]
fn words_are_refused_in_order() {
    let mut host = Host::new(Config::default());
    let add = |registers: &[u8]| word(20, I32, I32, registers);
    let byte = |mut word: [u8; 16], at: usize, value: u8| {
        word[at] = value;
        word
    };
    let cases: Vec<([u8; 16], u16)> = vec![
        (word(0x8004, I32, I32, &[0]), OPERATION),
        (word(5, I32, I32, &[0]), OPERATION),
        (byte(add(&[0, 0, 0]), 9, 1), RESERVED),
        (add(&[0, 0, 0, 0]), RESERVED),
        (indexed(add(&[0, 0, 0]), 1), RESERVED),
        (immediate(add(&[0, 0, 0]), 1), RESERVED),
        (byte(trap(0, 1), 5, 0), RESERVED),
        (load(13, 0, 0), TYPE),
        (word(20, I32, U8, &[0, 0, 0]), TYPE),
        (word(20, MASK, MASK, &[0, 0, 0]), TYPE),
        (word(60, I32, I32, &[0, 0]), TYPE),
        (word(62, MASK, I32, &[0, 0]), TYPE),
        (word(72, 11, I128, &[0, 0]), TYPE),
        (word(100, I128, I32, &[0, 0]), TYPE),
        (byte(add(&[0, 0, 0]), 4, 1), VARIANT),
        (byte(word(42, 12, MASK, &[0, 0, 0]), 4, 3), VARIANT),
        (
            byte(immediate(word(70, I128, I128, &[0, 0]), 1), 4, 4),
            VARIANT,
        ),
        (load(I32, 0, 1), INDEX),
        (validity(0, 1), INDEX),
        (indexed(word(3, I32, I32, &[0]), 1), INDEX),
        (indexed(word(4, I32, I32, &[0]), 1), INDEX),
        (indexed(word(101, I32, MASK, &[0, 0]), 1), INDEX),
        (indexed(word(102, I32, MASK, &[0, 0]), 1), INDEX),
        (store(I32, 0, 2), INDEX),
        (load(U8, 0, 0), TYPE),
        (word(3, U8, U8, &[0]), TYPE),
        (word(100, I32, U8, &[0, 0]), TYPE),
        (word(102, U8, MASK, &[0, 0]), TYPE),
        (store(U8, 0, 0), TYPE),
        (word(70, I128, I128, &[0, 0]), IMMEDIATE),
        (immediate(word(70, I128, I128, &[0, 0]), 39), IMMEDIATE),
        (
            byte(immediate(word(70, I128, I128, &[0, 0]), 1), 4, 3),
            IMMEDIATE,
        ),
        (immediate(word(71, I128, MASK, &[0, 0]), 0), IMMEDIATE),
        (immediate(word(72, 12, I128, &[0, 0]), -1), IMMEDIATE),
        (add(&[0, 16, 0]), REGISTER),
        (add(&[0, 0xFF, 0]), REGISTER),
        (add(&[0, 1, 16]), UNDEFINED),
        (add(&[0, 0, 16]), REGISTER),
        (trap(1, 0), UNDEFINED),
        (trap(16, 0), REGISTER),
        (word(20, U8, U8, &[0, 0, 0]), REGISTER_TYPE),
        (word(20, U8, U8, &[16, 0, 0]), REGISTER_TYPE),
        (add(&[16, 0, 0]), REGISTER),
        (word(44, I32, MASK, &[16, 0, 0]), REGISTER),
        (emit_mask(), ORDER),
        (store(I32, 0, 0), ORDER),
        (indexed(word(0x8003, I32, I32, &[0xFF, 0, 1]), 1), UNDEFINED),
    ];
    for (word, status) in cases {
        // Word 2 begins at 144.
        assert_eq!(
            host.load(&with_word(word).bytes()),
            (status, 2, 144),
            "{word:02x?}"
        );
    }
    // LOOKUP and IN_BOUNDS by what the table has, CAST_FAILS into an M register.
    let legal = [
        word(100, I32, I32, &[1, 0]),
        word(101, I32, MASK, &[1, 0]),
        word(62, I32, U8, &[15, 0]),
        word(60, MASK, 12, &[15, 0]),
        trap(0, -1),
    ];
    for word in legal {
        assert_eq!(host.load(&with_word(word).bytes()).0, 0, "{word:02x?}");
    }
}

#[test]
fn the_order_of_keep_stores_and_masks_is_checked() {
    let mut host = Host::new(Config::default());
    let mut fault = |change: fn(&mut Bytecode)| {
        let mut program = good();
        change(&mut program);
        host.load(&program.bytes())
    };
    assert_eq!(
        fault(|program| program.words.insert(3, keep(0))),
        (ORDER, 3, 160)
    );
    assert_eq!(
        fault(|program| program.words.insert(4, emit_mask())),
        (ORDER, 4, 176)
    );
    assert_eq!(
        fault(|program| program.words.push(store(I32, 0, 0))),
        (ORDER, 6, 208)
    );
    assert_eq!(
        fault(|program| program.words[4][7] = 0),
        (ORDER, 4, 176),
        "a validity too many"
    );
    assert_eq!(
        fault(|program| program.words[5][7] = 0xFF),
        (ORDER, 5, 192),
        "one too few"
    );
    assert_eq!(
        fault(|program| program.flags = 1),
        (ORDER, 3, 160),
        "EMIT_MASK without its flag"
    );
    assert_eq!(
        fault(|program| program.flags = 0),
        (ORDER, 2, 144),
        "KEEP without its flag"
    );
    let removed = fault(|program| {
        program.words.remove(3);
    });
    assert_eq!(removed, (INCOMPLETE, NONE, 16));
    let unstored = fault(|program| {
        program.words.pop();
    });
    assert_eq!(unstored, (INCOMPLETE, NONE, 84));
}

#[test]
fn what_the_card_does_not_list_is_refused_behind_what_is_illegal() {
    let profile =
        Profile::full().without(|operation, operand, _| operation == 20 && operand == I32);
    let mut host = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    let add = word(20, I32, I32, &[0, 16, 0]);
    assert_eq!(host.load(&with_word(add).bytes()), (UNSUPPORTED, 2, 144));
    let illegal = immediate(add, 1);
    assert_eq!(host.load(&with_word(illegal).bytes()), (RESERVED, 2, 144));
    let subtract = word(21, I32, I32, &[0, 0, 0]);
    assert_eq!(host.load(&with_word(subtract).bytes()).0, 0);
}

/// Bytes of all kinds: whatever they are, the card answers and goes on.
#[test]
fn noise_is_refused() {
    let mut host = Host::new(Config::default());
    let good = good().bytes();
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let mut refused = 0;
    for _ in 0..3000 {
        let mut noisy = good.clone();
        for _ in 0..1 + random() % 3 {
            let at = 16 + random() % (noisy.len() - 16);
            noisy[at] ^= u8::try_from(1 << (random() % 8)).unwrap();
        }
        let (status, ..) = host.load(&seal(noisy));
        refused += u32::from(status != 0);
        assert!(status == 0 || (0x0300..0x0314).contains(&status) || status == 0x0103);
    }
    assert!(refused > 2000, "{refused} of 3000");
}
