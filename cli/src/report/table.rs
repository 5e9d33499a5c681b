//! Tables for reading.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// How a column is aligned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table with a header; as wide as the terminal at most.
pub(crate) fn table(header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|(name, _)| Cell::new(name)));
    for row in rows {
        table.add_row(row);
    }
    for (index, (_, align)) in header.iter().enumerate() {
        if let (Align::Right, Some(column)) = (align, table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// `12,345,678`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest decimal unit: `1.2 MB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number as f64, &["B", "kB", "MB", "GB", "TB"])
}

/// A rate in the largest decimal unit: `1.2 G/s`.
pub(crate) fn rate(per_second: f64) -> String {
    scaled(per_second, &["/s", "k/s", "M/s", "G/s", "T/s"])
}

/// A time in a unit that leaves two or three digits.
pub(crate) fn duration(time: std::time::Duration) -> String {
    let nanos = time.as_nanos();
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{} µs", nanos / 1_000),
        10_000_000..10_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn scaled(number: f64, units: &[&str]) -> String {
    let mut number = number;
    let mut units = units.iter();
    let mut unit = units.next().expect("there is a unit");
    while number >= 1000.0 {
        let Some(next) = units.next() else { break };
        number /= 1000.0;
        unit = next;
    }
    let digits = if number >= 100.0 || number.fract() == 0.0 {
        0
    } else {
        1
    };
    format!("{number:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_reading() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1234567), "1,234,567");
        assert_eq!(bytes(1_250_000), "1.2 MB");
        assert_eq!(bytes(17), "17 B");
        assert_eq!(rate(2.5e9), "2.5 G/s");
        assert_eq!(duration(std::time::Duration::from_micros(1500)), "1500 µs");
    }
}
