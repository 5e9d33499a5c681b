//! Values as text, in CSV and in tables: as Arrow writes them, and those that it cannot write.
//!
//! Arrow's dates reach further than the years that its calendar knows, -262143 to 262142. Beyond, a
//! date is written by the same calendar, the proleptic Gregorian, and in the same form:
//! `+5881580-07-11`. A timestamp with a zone is written in UTC there, since no rule of a zone is
//! meant for such years; a time of day beyond 24 hours, which Arrow forbids, has as many hours as it
//! says.

mod far;

use std::fmt::{self, Write};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::ArrowError;

/// The values of a column as text.
///
/// ```
/// use arrow_array::{ArrayRef, Date32Array};
/// use unlade_ingest::Cells;
///
/// let dates: ArrayRef = std::sync::Arc::new(Date32Array::from(vec![Some(0), None, Some(i32::MAX)]));
/// let cells = Cells::new(&dates)?;
/// let texts: Vec<Option<String>> = (0..3).map(|row| cells.text(row)).collect();
/// let written = texts.iter().map(|text| text.as_deref());
/// assert!(written.eq([Some("1970-01-01"), None, Some("+5881580-07-11")]));
/// # Ok::<(), arrow_schema::ArrowError>(())
/// ```
pub struct Cells<'a> {
    array: &'a ArrayRef,
    nulls: Option<NullBuffer>,
    formatter: ArrayFormatter<'a>,
}

impl<'a> Cells<'a> {
    /// The cells of a column.
    ///
    /// # Errors
    /// A type that Arrow has no text for.
    pub fn new(array: &'a ArrayRef) -> Result<Self, ArrowError> {
        Ok(Cells {
            array,
            nulls: array.logical_nulls(),
            formatter: ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default())?,
        })
    }

    /// A value's text; none of a null.
    pub fn text(&self, row: usize) -> Option<String> {
        let mut text = String::new();
        self.write(row, &mut text).then_some(text)
    }

    /// Appends a value's text; nothing and `false` for a null.
    pub fn write(&self, row: usize, text: &mut String) -> bool {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return false;
        }
        let before = text.len();
        if self.formatter.value(row).write(text).is_err() {
            text.truncate(before);
            write_unformatted(self.array.as_ref(), row, text);
        }
        true
    }
}

impl fmt::Debug for Cells<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells")
            .field("type", self.array.data_type())
            .field("rows", &self.array.len())
            .finish_non_exhaustive()
    }
}

/// Appends a value that Arrow has no text for.
fn write_unformatted(array: &dyn Array, row: usize, text: &mut String) {
    let one = array.slice(row, 1);
    if let Some(dictionary) = one.as_any_dictionary_opt() {
        let key = dictionary.normalized_keys()[0];
        write_value(dictionary.values(), key, text);
        return;
    }
    if !far::write(array, row, text) {
        // Inside a list, say: Arrow's own words, in place of the value.
        let options = FormatOptions::default().with_display_error(true);
        match ArrayFormatter::try_new(array, &options) {
            Ok(formatter) => write!(text, "{}", formatter.value(row)),
            Err(error) => write!(text, "ERROR: {error}"),
        }
        .expect("a String takes any text");
    }
}

fn write_value(array: &ArrayRef, row: usize, text: &mut String) {
    match Cells::new(array) {
        Ok(cells) => _ = cells.write(row, text),
        Err(error) => write!(text, "ERROR: {error}").expect("a String takes any text"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int8Type;
    use arrow_array::{
        Date32Array, Date64Array, DictionaryArray, Int8Array, StringArray, Time32SecondArray,
        TimestampSecondArray,
    };

    use super::*;

    #[track_caller]
    fn shows(array: impl Array + 'static, expected: &[Option<&str>]) {
        let array: ArrayRef = Arc::new(array);
        let cells = Cells::new(&array).unwrap();
        let texts: Vec<Option<String>> = (0..array.len()).map(|row| cells.text(row)).collect();
        let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn the_calendar_goes_on_beyond_what_arrow_writes() {
        let last = 95_026_236; // +262142-12-31, the last that Arrow writes
        shows(
            Date32Array::from(vec![
                Some(0),
                Some(last),
                Some(last + 1),
                None,
                Some(-96_465_292),
                Some(-96_465_293),
                Some(i32::MIN),
            ]),
            &[
                Some("1970-01-01"),
                Some("+262142-12-31"),
                Some("+262143-01-01"),
                None,
                Some("-262143-01-01"),
                Some("-262144-12-31"),
                Some("-5877641-06-23"),
            ],
        );
        let day = i64::from(i32::MAX);
        let millis = day * 86_400_000 + 1;
        shows(
            Date64Array::from(vec![millis]),
            &[Some("+5881580-07-11T00:00:00.001")],
        );
        let seconds = day * 86_400 + 3661;
        let times = || TimestampSecondArray::from(vec![seconds]);
        shows(times(), &[Some("+5881580-07-11T01:01:01")]);
        shows(
            times().with_timezone("Europe/Berlin"),
            &[Some("+5881580-07-11T01:01:01Z")],
        );
        shows(
            Time32SecondArray::from(vec![86_399, 90_061, -1]),
            &[Some("23:59:59"), Some("25:01:01"), Some("-00:00:01")],
        );
    }

    #[test]
    fn a_null_is_no_empty_text_and_dictionaries_are_their_values() {
        shows(
            StringArray::from(vec![Some(""), None, Some("a")]),
            &[Some(""), None, Some("a")],
        );
        let dates = Arc::new(Date32Array::from(vec![Some(0), Some(i32::MAX), None]));
        let keys = Int8Array::from(vec![Some(1), Some(0), None, Some(2)]);
        let coded = DictionaryArray::<Int8Type>::new(keys, dates);
        shows(
            coded,
            &[Some("+5881580-07-11"), Some("1970-01-01"), None, None],
        );
    }
}
