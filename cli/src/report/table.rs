//! Tables for reading.

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};
use unicode_width::UnicodeWidthStr;

use crate::report;
use crate::report::sheet::cut;

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A rule below the header alone: who compares rows has them close together.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));

/// Columns of text between one column and the next.
const GAP: u16 = 2;

/// Columns of text that a cell keeps at least, where it is cut.
const LEAST: usize = 8;

/// A table with a header. On a terminal it is as wide as that at most: texts, which stand to the left,
/// are cut, and numbers never.
pub(crate) fn table(header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    table_within(report::width(), header, rows)
}

fn table_within(width: Option<usize>, header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let widths = widths(width, header, rows);
    let cells = |row: &mut dyn Iterator<Item = &str>| -> Vec<Cell> {
        let cells = row.zip(&widths);
        cells
            .map(|(text, width)| Cell::new(cut(text, *width)))
            .collect()
    };
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header(cells(&mut header.iter().map(|(name, _)| *name)));
    for row in rows {
        table.add_row(cells(&mut row.iter().map(String::as_str)));
    }
    for (index, (_, align)) in header.iter().enumerate() {
        let Some(column) = table.column_mut(index) else {
            continue;
        };
        let is_last = index + 1 == header.len();
        column.set_padding((0, if is_last { 0 } else { GAP }));
        if *align == Align::Right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// How wide each column is: as its widest cell, or less where all of them would be too wide together.
fn widths(most: Option<usize>, header: &[(&str, Align)], rows: &[Vec<String>]) -> Vec<usize> {
    let columns = header.iter().enumerate();
    let mut widths: Vec<usize> = columns
        .map(|(index, (name, _))| {
            let cells = rows.iter().filter_map(|row| row.get(index));
            let cells = cells.map(|cell| cell.width());
            cells.chain([name.width()]).max().unwrap_or(0)
        })
        .collect();
    let gaps = usize::from(GAP) * header.len().saturating_sub(1);
    let room = most.map_or(usize::MAX, |most| most.saturating_sub(gaps));
    while widths.iter().sum::<usize>() > room {
        let texts = header.iter().zip(&mut widths);
        let texts = texts.filter(|((_, align), width)| *align == Align::Left && **width > LEAST);
        match texts.map(|(_, width)| width).max() {
            Some(widest) => *widest -= 1,
            None => break,
        }
    }
    widths
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

/// So many of what has an `s` where there are several: `1 session`, `1,200 sessions`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {what}{ending}", grouped(number))
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

    const HEADER: [(&str, Align); 3] = [
        ("device", Align::Left),
        ("rows", Align::Right),
        ("why", Align::Left),
    ];

    fn rows() -> Vec<Vec<String>> {
        let rows = [
            [
                "cpu",
                "1,234,567",
                "nothing else could have run it, whatever was tried",
            ],
            ["dpu:unix:/run/card.sock", "12", "asked for by name"],
        ];
        rows.map(|row| row.map(str::to_owned).to_vec()).to_vec()
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let expected = "\
            device                        rows  why\n\
            ──────────────────────────────────────────────────────────────────────────────────────\n\
            cpu                      1,234,567  nothing else could have run it, whatever was tried\n\
            dpu:unix:/run/card.sock         12  asked for by name";
        assert_eq!(table_within(None, &HEADER, &rows()), expected);
        assert_eq!(table_within(Some(86), &HEADER, &rows()), expected);
    }

    #[test]
    fn texts_are_cut_to_the_width_and_numbers_are_not() {
        for width in [29, 40, 79, 80] {
            let drawn = table_within(Some(width), &HEADER, &rows());
            let lines: Vec<&str> = drawn.lines().collect();
            assert_eq!(lines.len(), 4, "{drawn}");
            assert!(lines.iter().all(|line| line.width() <= width), "{drawn}");
            assert!(
                drawn.contains("1,234,567") && drawn.contains('…'),
                "{drawn}"
            );
        }
        // No further: who has less of a terminal sees at least what is meant.
        let narrow = table_within(Some(10), &HEADER, &rows());
        assert_eq!(narrow, table_within(Some(29), &HEADER, &rows()));
    }

    #[test]
    fn numbers_for_reading() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1234567), "1,234,567");
        assert_eq!(counted(1, "session"), "1 session");
        assert_eq!(counted(0, "session"), "0 sessions");
        assert_eq!(counted(1200, "session"), "1,200 sessions");
        assert_eq!(bytes(1_250_000), "1.2 MB");
        assert_eq!(bytes(17), "17 B");
        assert_eq!(rate(2.5e9), "2.5 G/s");
        assert_eq!(duration(std::time::Duration::from_micros(1500)), "1500 µs");
    }
}
