//! Rows for reading: a table no wider than it may be.

use unicode_width::UnicodeWidthStr;

use crate::report::style;

/// Columns of text that a cell has at most where the table would be too wide.
const MAX_CELL: usize = 40;
/// Stands for what is left out.
const CUT: char = '\u{2026}';
/// Stands for no value, so that it is no empty text.
const NULL: &str = "NULL";

/// Rows of cells under a header.
pub(crate) struct Sheet {
    rows: Vec<Vec<Cell>>,
    widths: Vec<usize>,
}

#[derive(Clone)]
struct Cell {
    text: String,
    is_null: bool,
}

/// A table as text, and what is not in it.
pub(crate) struct Drawn {
    pub(crate) text: String,
    /// Columns left out.
    pub(crate) columns_hidden: usize,
    /// Whether a cell was cut.
    pub(crate) is_cut: bool,
}

impl Sheet {
    pub(crate) fn new(header: Vec<String>) -> Self {
        let mut sheet = Sheet {
            widths: vec![0; header.len()],
            rows: Vec::new(),
        };
        sheet.push(header.into_iter().map(Some).collect());
        sheet
    }

    /// Adds a row of values, nothing being a null: what controls a terminal is taken out, and a line
    /// break is written as `\n`.
    pub(crate) fn push(&mut self, row: Vec<Option<String>>) {
        let row: Vec<Cell> = row.into_iter().map(Cell::new).collect();
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.text.width());
        }
        self.rows.push(row);
    }

    /// The table; where it would be wider than this, long cells are cut, and if that is not enough
    /// the columns in the middle are left out.
    pub(crate) fn draw(mut self, width: Option<usize>) -> Drawn {
        let full = self.widths.clone();
        let columns = full.len();
        let mut shown = columns;
        if let Some(width) = width.filter(|width| drawn_width(&full) > *width) {
            let most = MAX_CELL.min(width.saturating_sub(4)).max(1);
            for width in &mut self.widths {
                *width = (*width).min(most);
            }
            while shown > 1 && drawn_width(&self.chosen(shown)) > width {
                shown -= 1;
            }
        }
        let widths = self.chosen(shown);
        let rule = rule(&widths);
        let mut text = format!("{rule}\n");
        for (index, row) in self.rows.iter().enumerate() {
            text.push_str(&line(&self.cells(row, shown), &widths));
            if index == 0 {
                text.push_str(&format!("{rule}\n"));
            }
        }
        text.push_str(&format!("{rule}\n"));
        Drawn {
            text,
            columns_hidden: columns - shown,
            is_cut: self.widths != full,
        }
    }

    /// The widths of so many columns, and that of the mark for the others.
    fn chosen(&self, shown: usize) -> Vec<usize> {
        choose(&self.widths, shown, &1).copied().collect()
    }

    fn cells(&self, row: &[Cell], shown: usize) -> Vec<Cell> {
        let mark = Cell::new(Some(CUT.to_string()));
        let cells = choose(row, shown, &mark);
        cells
            .zip(self.chosen(shown))
            .map(|(cell, width)| Cell {
                text: cut(&cell.text, width),
                is_null: cell.is_null,
            })
            .collect()
    }
}

impl Cell {
    fn new(value: Option<String>) -> Self {
        let text = value
            .as_ref()
            .map_or(NULL.to_owned(), |text| on_one_line(text));
        Cell {
            text,
            is_null: value.is_none(),
        }
    }
}

fn on_one_line(text: &str) -> String {
    let line = text.replace('\n', "\\n").replace('\t', "\\t");
    unlade::printable(&line).into_owned()
}

/// The first and the last of all, so many together, and the mark between them where that is not all.
fn choose<'a, T>(all: &'a [T], shown: usize, mark: &'a T) -> impl Iterator<Item = &'a T> {
    let first = shown.div_ceil(2);
    let mark = (shown < all.len()).then_some(mark);
    let last = all.len() - (shown - first);
    all[..first].iter().chain(mark).chain(&all[last..])
}

/// As much of a text as fits, with a mark where that is not all.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for next in text.chars() {
        kept.push(next);
        if kept.width() + 1 > width {
            kept.pop();
            break;
        }
    }
    kept.push(CUT);
    kept
}

fn drawn_width(widths: &[usize]) -> usize {
    widths.iter().map(|width| width + 3).sum::<usize>() + 1
}

fn rule(widths: &[usize]) -> String {
    let mut rule = "+".to_owned();
    for width in widths {
        rule.push_str(&"-".repeat(width + 2));
        rule.push('+');
    }
    rule
}

fn line(cells: &[Cell], widths: &[usize]) -> String {
    let mut line = "|".to_owned();
    for (cell, width) in cells.iter().zip(widths) {
        let space = " ".repeat(width - cell.text.width());
        let text = match cell.is_null {
            true => style::dim_in_output(&cell.text),
            false => cell.text.clone(),
        };
        line.push_str(&format!(" {text}{space} |"));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(columns: usize, cell: &str) -> Sheet {
        let mut sheet = Sheet::new((0..columns).map(|index| format!("c{index}")).collect());
        sheet.push(vec![Some(cell.to_owned()); columns]);
        sheet
    }

    #[test]
    fn a_null_is_no_empty_text() {
        let mut sheet = Sheet::new(vec!["c".to_owned()]);
        sheet.push(vec![None]);
        sheet.push(vec![Some(String::new())]);
        let drawn = sheet.draw(None).text;
        let cells: Vec<&str> = drawn.lines().skip(3).take(2).collect();
        assert_eq!(cells, ["| NULL |", "|      |"]);
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let drawn = sheet(2, "1").draw(None);
        let expected = "\
            +----+----+\n\
            | c0 | c1 |\n\
            +----+----+\n\
            | 1  | 1  |\n\
            +----+----+\n";
        assert_eq!(drawn.text, expected);
        assert_eq!((drawn.columns_hidden, drawn.is_cut), (0, false));
        let drawn = sheet(300, &"long ".repeat(100)).draw(None);
        assert_eq!((drawn.columns_hidden, drawn.is_cut), (0, false));
    }

    #[test]
    fn no_line_is_wider_than_it_may_be() {
        for cell in [
            "1",
            &"long ".repeat(100),
            "\u{8868}\u{8868}\u{8868}",
            "a\nb",
        ] {
            for columns in [1, 2, 3, 17] {
                for width in [8, 10, 20, 79, 80, 200] {
                    let drawn = sheet(columns, cell).draw(Some(width));
                    let widest = drawn.text.lines().map(UnicodeWidthStr::width).max();
                    let fits = widest.unwrap() <= width;
                    assert!(
                        fits || drawn.columns_hidden == columns - 1,
                        "{}",
                        drawn.text
                    );
                    let lines = drawn.text.lines().count();
                    assert_eq!(lines, 5, "{}", drawn.text);
                    let is_marked = drawn.text.contains(CUT);
                    assert_eq!(is_marked, drawn.columns_hidden > 0 || drawn.is_cut);
                }
            }
        }
    }

    #[test]
    fn the_columns_in_the_middle_go_first() {
        let drawn = sheet(9, "12345").draw(Some(40));
        let header = drawn.text.lines().nth(1).unwrap();
        assert_eq!(header, "| c0    | c1    | \u{2026} | c7    | c8    |");
        assert_eq!((drawn.columns_hidden, drawn.is_cut), (5, false));
    }
}
