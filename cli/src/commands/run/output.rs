//! Where results go: a table on the terminal, a file, standard output.

use std::io::IsTerminal;
use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use unlade_ingest::{Cells, Format, Sink, Target};

use crate::args::{FormatChoice, RunArgs};
use crate::error::Failure;
use crate::report;
use crate::report::sheet::Sheet;
use crate::report::table::grouped;

/// Rows of a table on the terminal, unless `--limit` says otherwise.
const TABLE_ROWS: u64 = 40;

/// Where results go, as the arguments say.
pub(super) enum Destination {
    Table { rows: u64 },
    Sink { target: Target, format: Format },
}

impl Destination {
    pub(super) fn choose(args: &RunArgs) -> Result<Self, Failure> {
        Self::choose_where(args, std::io::stdout().is_terminal())
    }

    /// `to_terminal` is whether standard output is one.
    fn choose_where(args: &RunArgs, to_terminal: bool) -> Result<Self, Failure> {
        let (target, format) = match (args.output.as_deref(), args.format) {
            (None, None | Some(FormatChoice::Table)) => {
                let rows = args.limit.unwrap_or(TABLE_ROWS);
                return Ok(Destination::Table { rows });
            }
            (None | Some("-"), Some(choice)) => (Target::Stdout, format_of(choice)?),
            (Some("-"), None) => (Target::Stdout, Format::ArrowStream),
            (Some(output), Some(choice)) => (Target::File(output.into()), format_of(choice)?),
            (Some(output), None) => {
                let path = PathBuf::from(output);
                let format = Format::from_extension(&path).ok_or_else(|| {
                    Failure::usage(format!(
                        "{output}: the name does not tell the format; end it in .parquet, .arrow, \
                         .arrows or .csv, or say --format"
                    ))
                })?;
                (Target::File(path), format)
            }
        };
        if target == Target::Stdout && format != Format::Csv && to_terminal {
            return Err(Failure::usage(format!(
                "{format} is not for reading on a terminal; redirect it or write a file with -o"
            )));
        }
        Ok(Destination::Sink { target, format })
    }

    pub(super) fn open(self, schema: &SchemaRef) -> Result<Out, Failure> {
        Ok(match self {
            Destination::Table { rows } => Out::Table {
                schema: schema.clone(),
                batches: Vec::new(),
                wanted: rows,
                rows: 0,
            },
            Destination::Sink { target, format } => {
                let sink = Sink::create(target, format, schema)?;
                if sink.may_be_left() {
                    tracing::info!(
                        "the output's file system knows no files without names: \
                         if this process is killed, a file .unlade-* stays in the folder"
                    );
                }
                Out::Sink(Box::new(sink))
            }
        })
    }
}

fn format_of(choice: FormatChoice) -> Result<Format, Failure> {
    match choice {
        FormatChoice::Parquet => Ok(Format::Parquet),
        FormatChoice::Arrow => Ok(Format::ArrowFile),
        FormatChoice::Arrows => Ok(Format::ArrowStream),
        FormatChoice::Csv => Ok(Format::Csv),
        FormatChoice::Table => Err(Failure::usage(
            "a table is for the terminal; leave -o out, or write csv",
        )),
    }
}

/// An opened destination.
pub(super) enum Out {
    Table {
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        wanted: u64,
        rows: u64,
    },
    Sink(Box<Sink>),
}

impl Out {
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match self {
            Out::Sink(sink) => Ok(sink.write(batch)?),
            Out::Table {
                batches,
                wanted,
                rows,
                ..
            } => {
                let left = usize::try_from(wanted.saturating_sub(*rows)).unwrap_or(usize::MAX);
                if left > 0 && batch.num_rows() > 0 {
                    batches.push(batch.slice(0, left.min(batch.num_rows())));
                }
                *rows += batch.num_rows() as u64;
                Ok(())
            }
        }
    }

    pub(super) fn finish(self) -> Result<(), Failure> {
        match self {
            Out::Sink(sink) => Ok(sink.finish()?),
            Out::Table {
                schema,
                batches,
                wanted,
                rows,
            } => {
                let drawn = sheet(&schema, &batches)?.draw(report::width());
                report::print(drawn.text.as_bytes())?;
                if drawn.columns_hidden > 0 || drawn.is_cut {
                    let columns = schema.fields().len();
                    report::say(format_args!(
                        "{} of {columns} columns shown{}; --select chooses columns, a pipe into \
                         `less -S` shows all",
                        columns - drawn.columns_hidden,
                        if drawn.is_cut {
                            ", long values cut"
                        } else {
                            ""
                        },
                    ));
                }
                if rows > wanted {
                    report::say(format_args!(
                        "{} more rows; --limit shows more, -o FILE writes all",
                        grouped(rows - wanted)
                    ));
                }
                Ok(())
            }
        }
    }
}

fn sheet(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Sheet, Failure> {
    let cannot = |error| Failure::usage(format!("cannot show the rows: {error}"));
    let names = schema.fields().iter().map(|field| field.name().clone());
    let mut sheet = Sheet::new(names.collect());
    for batch in batches {
        let columns = batch.columns().iter();
        let columns = columns.map(Cells::new).collect::<Result<Vec<_>, _>>();
        let columns = columns.map_err(cannot)?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column.text(row));
            sheet.push(cells.collect());
        }
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    /// What is said of a run with these flags; nothing where it may be.
    fn refused(flags: &[&str], to_terminal: bool) -> Option<String> {
        let line = ["unlade", "run", "in.parquet"];
        let arguments = Arguments::try_parse_from(line.iter().chain(flags)).unwrap();
        let Command::Run(args) = arguments.command else {
            panic!("{flags:?} is no run");
        };
        let chosen = Destination::choose_where(&args, to_terminal);
        chosen.err().map(|failure| failure.to_string())
    }

    #[test]
    fn a_terminal_gets_nothing_but_text() {
        let binary: [&[&str]; 6] = [
            &["--format", "parquet"],
            &["--format", "arrow"],
            &["--format", "arrows"],
            &["--format", "parquet", "-o", "-"],
            &["--format", "arrow", "-o", "-"],
            &["-o", "-"],
        ];
        for flags in binary {
            let said = refused(flags, true).unwrap_or_else(|| panic!("{flags:?} is let through"));
            assert!(said.contains("is not for reading on a terminal"), "{said}");
            assert_eq!(refused(flags, false), None, "{flags:?}");
        }
        let text: [&[&str]; 5] = [
            &[],
            &["--format", "table"],
            &["--format", "csv"],
            &["--format", "csv", "-o", "-"],
            &["-o", "out.arrow"],
        ];
        for flags in text {
            assert_eq!(refused(flags, true), None, "{flags:?}");
        }
    }
}
