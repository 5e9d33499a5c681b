//! Lists of operations, to and fro.

use unlade_card::{Malformed, cells, entries};
use unlade_naive::generate::Rng;
use unlade_program::{Cell, CellSet};

#[test]
fn sets_of_cells_are_said_and_understood() {
    let full = entries(&CellSet::full());
    // The numbers are those of docs/CARD.md, section 11.
    assert_eq!(full.len(), 577 * 8);
    let variants: u32 = full.chunks(8).map(|entry| entry[4].count_ones()).sum();
    assert_eq!(variants, 604);
    assert_eq!(cells(&full), Ok(CellSet::full()));
    assert_eq!(cells(&[]), Ok(CellSet::empty()));

    let mut rng = Rng::new(0xce11);
    for _ in 0..200 {
        let kept = 1 + rng.below(99);
        let set: CellSet = CellSet::full()
            .iter()
            .filter(|_| rng.chance(kept))
            .collect::<Vec<Cell>>()
            .into_iter()
            .collect();
        assert_eq!(cells(&entries(&set)), Ok(set));
    }
}

#[test]
fn the_vector_is_understood() {
    // `log_capabilities`, behind the page's header.
    let list = [
        [1, 0, 4, 4, 1, 0, 0, 0],
        [20, 0, 4, 4, 1, 0, 0, 0],
        [44, 0, 12, 1, 7, 0, 0, 0],
        [62, 0, 12, 7, 1, 0, 0, 0],
        [70, 0, 6, 6, 15, 0, 0, 0],
    ];
    let found = cells(list.as_flattened()).unwrap();
    let names: Vec<String> = found.iter().map(|cell| cell.to_string()).collect();
    assert_eq!(
        names,
        [
            "load i32 -> i32",
            "add i32 -> i32",
            "cmp.gt f64 -> mask",
            "cmp.gt.total f64 -> mask",
            "cmp.gt.spark f64 -> mask",
            "cast.fails f64 -> u8",
            "rescale.up i128 -> i128",
            "rescale.half_away i128 -> i128",
            "rescale.truncate i128 -> i128",
            "rescale.floor i128 -> i128",
        ]
    );
}

#[test]
fn a_list_that_no_card_may_have_is_refused() {
    let load = [1, 0, 4, 4, 1, 0, 0, 0];
    let refused = |list: &[u8]| cells(list).unwrap_err().to_string();
    assert_eq!(
        refused(&load[..7]),
        "capability entry 0: its bytes are not all there; the card breaks its interface"
    );
    for (second, wanted) in [
        (load, "it is not above the one before"),
        ([1, 0, 2, 2, 1, 0, 0, 0], "it is not above the one before"),
        ([20, 0, 4, 4, 0, 0, 0, 0], "it has no variant"),
        ([200, 0, 4, 4, 0, 0, 0, 0], "it has no variant"),
    ] {
        let text = refused([load, second].as_flattened());
        assert!(
            text.starts_with(&format!("capability entry 1: {wanted}")),
            "{text}"
        );
    }
    // What the card reserves, a host ignores.
    assert!(cells(&[1, 0, 4, 4, 1, 7, 7, 7]).is_ok());
    assert!(matches!(
        cells(&[0; 8]),
        Err(Malformed::Capabilities { entry: 0, .. })
    ));
}

#[test]
fn what_a_newer_minor_version_may_have_added_is_ignored() {
    // Operation 5; ADD of type 13, to type 0, from i32 to i64, in a second variant; KEEP.
    let newer = [
        [1, 0, 4, 4, 1, 0, 0, 0],
        [5, 0, 4, 4, 1, 0, 0, 0],
        [20, 0, 4, 0, 1, 0, 0, 0],
        [20, 0, 4, 4, 3, 0, 0, 0],
        [20, 0, 4, 5, 1, 0, 0, 0],
        [20, 0, 13, 4, 1, 0, 0, 0],
        [44, 0, 12, 1, 0x8f, 0, 0, 0],
        [1, 0x80, 1, 1, 1, 0, 0, 0],
    ];
    let known = [
        [1, 0, 4, 4, 1, 0, 0, 0],
        [20, 0, 4, 4, 1, 0, 0, 0],
        [44, 0, 12, 1, 7, 0, 0, 0],
    ];
    let found = cells(newer.as_flattened()).unwrap();
    assert_eq!(found, cells(known.as_flattened()).unwrap());
    assert_eq!(entries(&found), known.as_flattened());
}
