//! The text form: random programs round-trip, and no text at all makes the parser panic.

use unlade_naive::generate::{Options, Rng, random_program};
use unlade_program::{Program, ShapeHash, verify};

#[test]
fn random_programs_round_trip() {
    let mut rng = Rng::new(0x7e87);
    for _ in 0..2000 {
        let program = random_program(&mut rng, &Options::default());
        let text = program.to_string();
        let parsed: Program = text
            .parse()
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(parsed, program, "{text}");
        assert_eq!(ShapeHash::of(&parsed), ShapeHash::of(&program));
    }
}

/// Valid texts with a few characters or lines changed: parsed or refused, and what is parsed is
/// verified or refused, and prints to what parses again.
#[test]
fn damaged_texts_are_parsed_or_refused() {
    let mut rng = Rng::new(0xbad);
    let (mut parsed, mut verified, mut refused) = (0, 0, 0);
    for _ in 0..400 {
        let text = random_program(&mut rng, &Options::default()).to_string();
        for _ in 0..25 {
            let damaged = damage(&text, &mut rng);
            match damaged.parse::<Program>() {
                Ok(program) => {
                    parsed += 1;
                    verified += usize::from(verify(&program).is_ok());
                    assert_eq!(program.to_string().parse(), Ok(program), "{damaged}");
                }
                Err(error) => {
                    refused += 1;
                    let lines = damaged.lines().count();
                    assert!((1..=lines).contains(&error.line), "{error}\n{damaged}");
                    let line = damaged.lines().nth(error.line - 1).unwrap_or("");
                    let width = line.chars().count();
                    assert!(
                        (1..=width + 1).contains(&error.column),
                        "{error}\n{damaged}"
                    );
                }
            }
        }
    }
    assert!(
        parsed > verified && verified > 100 && refused > 1000,
        "{parsed} parsed, {verified} verified, {refused} refused"
    );
}

fn damage(text: &str, rng: &mut Rng) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=rng.below(2) {
        let at = rng.below(chars.len());
        match rng.below(6) {
            0 => drop(chars.remove(at)),
            1 => chars.insert(
                at,
                rng.pick(&['9', '-', '%', ',', '.', '\n', ' ', ';', 'é', '\u{0}']),
            ),
            2 => chars[at] = rng.pick(&['0', '1', 'c', 'x', '%', '\u{1f600}', '\u{a0}', '+']),
            3 => {
                let other = rng.below(chars.len());
                chars.swap(at, other);
            }
            4 => chars.truncate(at + 1),
            _ => {
                let line: Vec<char> = chars[..at]
                    .iter()
                    .rev()
                    .take_while(|&&c| c != '\n')
                    .copied()
                    .collect();
                chars.extend(line.into_iter().rev());
            }
        }
        if chars.is_empty() {
            chars.push('%');
        }
    }
    chars.into_iter().collect()
}
