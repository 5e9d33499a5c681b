//! Rules that every text keeps, whatever the program.
//!
//! Bits are the same on every device only if each float operation is the one that IEEE 754
//! defines, rounded once to nearest even, and if nothing is asked of the hardware whose result the
//! PTX ISA leaves open. Blocks see each other's counts in words that hold them whole, by relaxed
//! operations of the GPU's scope; anything else that passes between blocks is ordered by fences
//! (docs/decisions/0004).

use unlade_naive::generate::{Options, Rng, random_program};

use crate::shapes::modules;

/// Random programs that are linted beside the shapes.
const PROGRAMS: u64 = 300;

#[test]
fn the_rules_hold_for_every_shape() {
    for (name, module) in modules() {
        check(name, &module.text);
    }
}

#[test]
fn the_rules_hold_for_random_programs() {
    let mut floats = 0;
    for seed in 0..PROGRAMS {
        let program = random_program(&mut Rng::new(seed), &Options::default());
        let module =
            unlade_ptx::lower(&program).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        check(&format!("seed {seed}"), &module.text);
        floats += module.text.matches(".rn.f").count();
    }
    assert!(floats > 1000, "only {floats} float operations were linted");
}

#[test]
fn what_breaks_a_rule_is_found() {
    for wrong in [
        "add.f32 %r1, %r2, %r3;",
        "add.rn.ftz.f32 %r1, %r2, %r3;",
        "div.approx.f32 %r1, %r2, %r3;",
        "div.full.f32 %r1, %r2, %r3;",
        "fma.rn.f64 %d1, %d2, %d3, %d4;",
        "mad.rn.f32 %r1, %r2, %r3, %r4;",
        "neg.f32 %r1, %r2;",
        "abs.f64 %d1, %d2;",
        "max.f32 %r1, %r2, %r3;",
        "cvt.f32.s32 %r1, %r2;",
        "cvt.f32.f64 %r1, %d2;",
        "cvt.rzi.s64.f64 %d1, %d2;",
        "ld.volatile.global.b64 %d1, [%d2];",
        "st.volatile.global.b64 [%d1], %d2;",
        "sqrt.rn.f32 %r1, %r2;",
    ] {
        assert!(
            broken(wrong, &[]).is_some(),
            "nothing is wrong with {wrong}"
        );
    }
    let guarded = ["selp.b64 %d2, 0, %d1, %p1;"];
    let convert = "cvt.rzi.s64.f64 %d3, %d2;";
    assert_eq!(broken(convert, &guarded), None);
}

fn check(name: &str, text: &str) {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .collect();
    for (at, line) in lines.iter().enumerate() {
        if let Some(rule) = broken(line, &lines[..at]) {
            panic!("{name}: {rule}: {line}");
        }
    }
    let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    // A tile's state, one word, is polled in one place and published in two: first its own count,
    // then that of all. Strings have two such states. What reads the traps, if any, is the only
    // other that is strong.
    let places = |line: &&&str| line.starts_with("look_back") && line.ends_with(':');
    let polls = lines.iter().filter(places).count();
    let traps = usize::from(text.contains("red.global.max.u64"));
    assert_eq!(count("ld.relaxed.gpu.global.b64"), polls + traps, "{name}");
    assert_eq!(count("st.relaxed.gpu.global.b64"), 2 * polls, "{name}");
    // The last block's reading of traps is ordered after the others' reports: by a fence before
    // each block says that it is done, and by one after the last has seen so.
    assert_eq!(count("fence.acq_rel.gpu;"), 2 * traps, "{name}");
    if traps == 1 {
        let at = |what: &str| lines.iter().rposition(|line| line.contains(what));
        let done = at("atom.global.add.u64");
        let fences: Vec<usize> = (0..lines.len())
            .filter(|&line| lines[line] == "fence.acq_rel.gpu;")
            .collect();
        assert!(Some(fences[0]) < done && done < Some(fences[1]), "{name}");
        assert!(Some(fences[1]) < at("ld.relaxed.gpu.global.b64"), "{name}");
    }
}

/// The rule that an instruction breaks; `before` are the lines before it.
fn broken(line: &str, before: &[&str]) -> Option<&'static str> {
    // A guard comes first, then the name, then its operands.
    let mut words = line
        .split_whitespace()
        .filter(|word| !word.starts_with('@'));
    let name = words.next()?;
    let operands: Vec<&str> = words.collect();
    let pieces: Vec<&str> = name.split('.').collect();
    let has = |piece: &str| pieces.contains(&piece);
    let of_floats = has("f32") || has("f64");
    let whole = |piece: &str| {
        let number = piece.strip_prefix(['s', 'u']);
        number.is_some_and(|bits| bits.parse::<u32>().is_ok())
    };
    if has("ftz") || has("approx") || has("full") || has("sat") {
        return Some("a float operation is not what IEEE 754 defines");
    }
    match pieces[0] {
        "fma" => Some("a contraction that the program did not ask for"),
        "mad" if of_floats => Some("a contraction that the program did not ask for"),
        "add" | "sub" | "mul" | "div" if of_floats && !has("rn") => {
            Some("a float operation does not say how it rounds")
        }
        "add" | "sub" | "mul" | "div" | "setp" => None,
        "neg" | "abs" | "min" | "max" | "copysign" if of_floats => {
            Some("the ISA leaves its NaNs open; use bits")
        }
        "cvt" => broken_conversion(&pieces, &operands, before, whole),
        "ld" | "st" if has("volatile") => Some("volatile orders nothing between blocks"),
        _ if of_floats => Some("a float operation that no rule speaks of"),
        _ => None,
    }
}

/// `cvt.` rounding, target, source: to a float it rounds to nearest even unless it is exact, from
/// one it truncates what a `selp` has let through.
fn broken_conversion(
    pieces: &[&str],
    operands: &[&str],
    before: &[&str],
    whole: impl Fn(&str) -> bool,
) -> Option<&'static str> {
    let [.., target, source] = pieces else {
        return Some("a conversion without types");
    };
    let float = |piece: &str| matches!(piece, "f32" | "f64");
    match (*target, *source) {
        ("f64", "f32") => None,
        (target, source) if float(target) && target == source => {
            (!pieces.contains(&"rzi")).then_some("a float is rounded to a whole number otherwise")
        }
        (target, _) if float(target) => {
            (!pieces.contains(&"rn")).then_some("a conversion does not say how it rounds")
        }
        (target, source) if whole(target) && float(source) => {
            let register = operands.get(1)?.trim_end_matches([';', ',']);
            let guard = format!("selp.b64 {register}, 0, ");
            let guarded = before
                .iter()
                .rev()
                .take(40)
                .any(|line| line.starts_with(&guard));
            (!guarded || !pieces.contains(&"rzi"))
                .then_some("the ISA leaves the integer of such a float open; guard it")
        }
        _ => None,
    }
}
