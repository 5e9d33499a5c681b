//! Names of columns, and the nearest one to a name that does not exist.

use arrow_schema::Schema;

use crate::display::Brief;
use crate::error::{ExprError, ExprErrorKind};

/// Columns that an error lists before it says "and so many more".
const MOST_LISTED: usize = 12;

/// The position of a column: by its exact name, else letter case aside if that leaves one.
pub(super) fn resolve(schema: &Schema, name: &str, exact: bool) -> Result<usize, ExprError> {
    let fields = schema.fields();
    let mut matches = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.name() == name);
    if let Some((position, _)) = matches.next() {
        return match matches.next() {
            None => Ok(position),
            Some(_) => Err(ExprError::new(
                ExprErrorKind::Unknown,
                format!("there are several columns of the name `{name}`"),
            )),
        };
    }
    if !exact {
        let mut matches = fields
            .iter()
            .enumerate()
            .filter(|(_, field)| same_but_for_case(field.name(), name));
        if let Some((position, first)) = matches.next() {
            return match matches.next() {
                None => Ok(position),
                Some((_, second)) => Err(ExprError::new(
                    ExprErrorKind::Unknown,
                    format!(
                        "`{name}` may mean `{}` or `{}`",
                        first.name(),
                        second.name()
                    ),
                )
                .with_help(format!("write it in double quotes: \"{}\"", first.name()))),
            };
        }
    }
    Err(unknown_column(schema, name, exact))
}

fn same_but_for_case(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
        || (!left.is_ascii() && left.to_lowercase() == right.to_lowercase())
}

fn unknown_column(schema: &Schema, name: &str, exact: bool) -> ExprError {
    let message = format!("there is no column `{}`", Brief(name));
    let error = ExprError::new(ExprErrorKind::Unknown, message);
    for (word, text) in [
        ("nan", "NaN"),
        ("inf", "Infinity"),
        ("infinity", "Infinity"),
    ] {
        if same_but_for_case(name, word) {
            return error.with_help(format!(
                "as a number it is written cast('{text}' as double)"
            ));
        }
    }
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let mut help = match closest(name, names()) {
        Some(near) => format!("did you mean `{near}`? "),
        None if exact => {
            let text = Brief(name.replace('\'', "''"));
            format!("a text is written in single quotes, '{text}'; ")
        }
        None => String::new(),
    };
    let count = schema.fields().len();
    if count == 0 {
        help.push_str("there are no columns");
    } else {
        help.push_str("columns are ");
        let listed: Vec<_> = names().take(MOST_LISTED).collect();
        help.push_str(&listed.join(", "));
        if count > MOST_LISTED {
            help.push_str(&format!(" and {} more", count - MOST_LISTED));
        }
    }
    error.with_help(help)
}

/// The candidate that is fewest edits away, letter case aside, if that is few for its length.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer names are compared by their beginnings, so that a hostile one costs no more.
    const MOST_COMPARED: usize = 64;
    let lower = |text: &str| -> Vec<char> {
        text.chars()
            .flat_map(char::to_lowercase)
            .take(MOST_COMPARED)
            .collect()
    };
    let wanted = lower(name);
    let tolerated = (wanted.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(&wanted, &lower(candidate)), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, by rows of its table.
fn edit_distance(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, left_char) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, right_char) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left_char != right_char);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names() {
        let names = ["price", "quantity", "l_shipdate"];
        assert_eq!(closest("prise", names), Some("price"));
        assert_eq!(closest("QUANTITY", names), Some("quantity"));
        assert_eq!(closest("shipdate", names), Some("l_shipdate"));
        assert_eq!(closest("zzz", names), None);
    }
}
