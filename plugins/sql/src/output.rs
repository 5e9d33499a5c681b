//! Rows as a table, CSV, TSV or JSON, on standard output.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;

use clap::ValueEnum;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::{ArrayWriter, LineDelimitedWriter};
use datafusion::arrow::util::display::FormatOptions;
use datafusion::arrow::util::pretty::pretty_format_batches_with_options;
use datafusion::common::DataFusionError;
use datafusion::config;
use datafusion::prelude::SessionContext;
use unlade::printable;

use crate::error::Failure;

/// What is printed, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printing {
    pub(crate) format: Format,
    /// Rows that a table shows.
    pub(crate) max_rows: usize,
    /// Whether what ran where is told.
    pub(crate) receipts: bool,
    /// Whether the number of rows and their time are not.
    pub(crate) quiet: bool,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table at a terminal, CSV elsewhere
    Automatic,
    /// A table of the first rows
    Table,
    /// With a line of names
    Csv,
    /// As csv, with tabs
    Tsv,
    /// One array of objects
    Json,
    /// An object a line
    #[value(name = "nd-json", alias = "ndjson", alias = "jsonl")]
    NdJson,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Prints the rows of one statement.
#[derive(Debug)]
pub(crate) struct Printer {
    sink: Sink,
    text: Text,
    rows: u64,
}

/// What rows are on their way to standard output.
enum Sink {
    /// A statement without columns has nothing to print.
    Nothing,
    Table(Box<Table>),
    Separated(Box<csv::Writer<Text>>),
    Array(ArrayWriter<Text>),
    Lines(LineDelimitedWriter<Text>),
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sink::Nothing => "Nothing",
            Sink::Table(_) => "Table",
            Sink::Separated(_) => "Separated",
            Sink::Array(_) => "Array",
            Sink::Lines(_) => "Lines",
        })
    }
}

/// The first rows.
struct Table {
    schema: SchemaRef,
    kept: Vec<RecordBatch>,
    /// Rows that may yet be kept.
    room: usize,
    /// How the session wants values shown.
    options: config::FormatOptions,
}

impl Printer {
    pub(crate) fn new(
        printing: Printing,
        schema: &SchemaRef,
        context: &SessionContext,
    ) -> Result<Self, Failure> {
        let text = Text::default();
        let format = match printing.format {
            Format::Automatic if io::stdout().is_terminal() => Format::Table,
            Format::Automatic => Format::Csv,
            chosen => chosen,
        };
        let sink = match format {
            _ if schema.fields().is_empty() => Sink::Nothing,
            Format::Automatic | Format::Table => Sink::Table(Box::new(Table {
                schema: SchemaRef::clone(schema),
                kept: Vec::new(),
                room: printing.max_rows,
                options: context.copied_config().options().format.clone(),
            })),
            Format::Csv => separated(&text, b',', schema)?,
            Format::Tsv => separated(&text, b'\t', schema)?,
            Format::Json => Sink::Array(ArrayWriter::new(text.clone())),
            Format::NdJson => Sink::Lines(LineDelimitedWriter::new(text.clone())),
        };
        Ok(Printer {
            sink,
            text,
            rows: 0,
        })
    }

    pub(crate) fn print(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.rows += batch.num_rows() as u64;
        match &mut self.sink {
            Sink::Nothing => Ok(()),
            Sink::Table(table) => {
                let kept = batch.num_rows().min(table.room);
                if kept > 0 {
                    table.room -= kept;
                    table.kept.push(batch.slice(0, kept));
                }
                Ok(())
            }
            Sink::Separated(writer) => writer.write(batch),
            Sink::Array(writer) => writer.write(batch),
            Sink::Lines(writer) => writer.write(batch),
        }
        .map_err(unwritable)?;
        self.text.send()
    }

    /// Prints what was held back, and tells how many rows there were.
    pub(crate) fn finish(mut self) -> Result<u64, Failure> {
        match &mut self.sink {
            Sink::Nothing | Sink::Separated(_) | Sink::Lines(_) => {}
            Sink::Array(writer) => {
                writer.finish().map_err(unwritable)?;
                self.text.write_all(b"\n")?;
            }
            Sink::Table(table) => {
                let lines = table.lines(self.rows)?;
                self.text.write_all(lines.as_bytes())?;
            }
        }
        self.text.send()?;
        Ok(self.rows)
    }
}

/// With its line of names, whether rows come or not.
fn separated(text: &Text, delimiter: u8, schema: &SchemaRef) -> Result<Sink, Failure> {
    let builder = csv::WriterBuilder::new().with_header(true);
    let mut writer = builder.with_delimiter(delimiter).build(text.clone());
    let empty = RecordBatch::new_empty(SchemaRef::clone(schema));
    writer.write(&empty).map_err(unwritable)?;
    Ok(Sink::Separated(Box::new(writer)))
}

impl Table {
    fn lines(&mut self, rows: u64) -> Result<String, Failure> {
        let shown: usize = self.kept.iter().map(RecordBatch::num_rows).sum();
        if self.kept.is_empty() {
            self.kept
                .push(RecordBatch::new_empty(SchemaRef::new(Schema::clone(
                    &self.schema,
                ))));
        }
        let options: FormatOptions<'_> = (&self.options).try_into()?;
        let table = pretty_format_batches_with_options(&self.kept, &options);
        let mut lines = table.map_err(unwritable)?.to_string();
        lines.push('\n');
        let more = rows - shown as u64;
        if more > 0 {
            lines.push_str(&format!(
                "and {more} more; --max-rows shows more, --format csv all\n"
            ));
        }
        // Elsewhere values are as they are.
        Ok(match io::stdout().is_terminal() {
            true => printable(&lines).into_owned(),
            false => lines,
        })
    }
}

/// What a format cannot write, such as nested values as CSV.
fn unwritable(error: ArrowError) -> Failure {
    DataFusionError::from(error).into()
}

/// What writers have written since it was sent.
#[derive(Clone, Debug, Default)]
struct Text(Rc<RefCell<Vec<u8>>>);

impl Text {
    fn send(&self) -> Result<(), Failure> {
        let bytes = self.0.take();
        let mut output = io::stdout().lock();
        output.write_all(&bytes)?;
        Ok(output.flush()?)
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
