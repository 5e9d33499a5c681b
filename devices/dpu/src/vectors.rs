//! The examples of docs/card/vectors.toml, for tests.

/// The bytes of an example.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let text = include_str!("../../../docs/card/vectors.toml");
    let named = format!("name = \"{name}\"");
    let mut lines = text.lines().skip_while(|line| *line != named);
    let hex = lines
        .find_map(|line| line.strip_prefix("hex = \"")?.strip_suffix('"'))
        .unwrap_or_else(|| panic!("there is no example {name}"));
    assert!(hex.len().is_multiple_of(2) && hex.is_ascii());
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"))
        .collect()
}
