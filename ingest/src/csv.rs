//! Comma-separated values, as RFC 4180 and PostgreSQL have them: a null is nothing, an empty text is
//! `""`, so that the two can be told apart.

use std::io::{self, Write};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};

use crate::cells::Cells;

/// Writes a header and rows.
pub(crate) struct CsvWriter<W> {
    out: W,
    /// A row, and a value of it.
    line: String,
    value: String,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header.
    pub(crate) fn new(mut out: W, schema: &Schema) -> io::Result<Self> {
        let mut line = String::new();
        for (index, field) in schema.fields().iter().enumerate() {
            separate(&mut line, index);
            push_quoted(&mut line, field.name());
        }
        line.push('\n');
        out.write_all(line.as_bytes())?;
        Ok(CsvWriter {
            out,
            line,
            value: String::new(),
        })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = batch.columns().iter();
        let columns = columns.map(Cells::new).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            self.line.clear();
            for (index, column) in columns.iter().enumerate() {
                separate(&mut self.line, index);
                self.value.clear();
                if column.write(row, &mut self.value) {
                    push_quoted(&mut self.line, &self.value);
                }
            }
            self.line.push('\n');
            self.out.write_all(self.line.as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn into_inner(self) -> W {
        self.out
    }
}

fn separate(line: &mut String, index: usize) {
    if index > 0 {
        line.push(',');
    }
}

/// Appends a value, in quotes where it could be taken for something else.
fn push_quoted(line: &mut String, value: &str) {
    if !value.is_empty() && !value.contains(['"', ',', '\n', '\r']) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for (index, part) in value.split('"').enumerate() {
        if index > 0 {
            line.push_str("\"\"");
        }
        line.push_str(part);
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Date32Array, StringArray};

    use super::*;

    #[test]
    fn what_could_be_taken_for_something_else_is_quoted() {
        let texts = StringArray::from(vec![
            Some("plain, as it is"),
            Some("a \"word\""),
            Some("two\nlines"),
            Some(""),
            None,
            Some(" spaces stay "),
        ]);
        let days = Date32Array::from(vec![Some(0), None, Some(i32::MAX), Some(1), None, Some(2)]);
        let columns = [
            ("a \"text\"", Arc::new(texts) as _),
            ("day", Arc::new(days) as _),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = CsvWriter::new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch.slice(3, 2)).unwrap();
        let written = String::from_utf8(writer.into_inner()).unwrap();
        let expected = "\
            \"a \"\"text\"\"\",day\n\
            \"plain, as it is\",1970-01-01\n\
            \"a \"\"word\"\"\",\n\
            \"two\nlines\",+5881580-07-11\n\
            \"\",1970-01-02\n\
            ,\n\
            \x20spaces stay ,1970-01-03\n\
            \"\",1970-01-02\n\
            ,\n";
        assert_eq!(written, expected);
    }
}
