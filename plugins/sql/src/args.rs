//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::output::Format;

/// SQL over Parquet, CSV, JSON and Arrow files, on GPU, DPU card or CPU
#[derive(Clone, Debug, Parser)]
#[command(name = "unlade-sql", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Run these statements and end; may be given several times
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    pub(crate) commands: Vec<String>,
    /// Run the statements of a file and end, before those of -c; may be given several times
    #[arg(short = 'f', long = "file", value_name = "FILE.sql")]
    pub(crate) files: Vec<PathBuf>,
    /// A file, a pattern of files or a folder of Parquet files as a table; may be given several times
    #[arg(short = 't', long = "table", value_name = "NAME=PATH", value_parser = table)]
    pub(crate) tables: Vec<(String, String)>,
    /// Device to run on: auto, cpu, cuda:0, sim, sim-gpu, sim-dpu, dpu:...
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) device: String,
    /// Set an option as SQL's SET does, before anything runs; may be given several times
    #[arg(long = "set", value_name = "OPTION=VALUE", value_parser = option)]
    pub(crate) options: Vec<(String, String)>,
    /// Threads to compute on [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// How rows are printed
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        help_heading = "Output"
    )]
    pub(crate) format: Format,
    /// Rows that a table shows
    #[arg(long, value_name = "N", default_value_t = 40, help_heading = "Output")]
    pub(crate) max_rows: usize,
    /// Print after each statement what of it ran where, to standard error
    #[arg(long, help_heading = "Output")]
    pub(crate) receipts: bool,
    /// Print neither the number of rows nor the time that they took
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Where the shell keeps what was entered; none is nowhere
    /// [default: unlade/sql-history in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Without -c and -f statements are read from standard input; at a terminal that is a shell, in which \\?
lists its commands.

Examples:
  unlade-sql -c \"SELECT count(*) FROM 'trips.parquet' WHERE distance > 10\"
  unlade-sql --table trips='2024/*.parquet' --device cuda:0 --receipts
  unlade-sql -t trips=trips.parquet -f report.sql --format csv > report.csv
  unlade-sql -t t=t.parquet -c 'EXPLAIN SELECT a + 1 FROM t WHERE a > 3' --set unlade.force=true

docs/DATAFUSION.md says what is taken by devices, and lists the options of `unlade`.";

fn table(text: &str) -> Result<(String, String), String> {
    pair(text).ok_or_else(|| "NAME=PATH, as in trips=trips.parquet".to_owned())
}

fn option(text: &str) -> Result<(String, String), String> {
    pair(text).ok_or_else(|| "OPTION=VALUE, as in unlade.mode=require".to_owned())
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let is_whole = !name.trim().is_empty() && !value.is_empty();
    is_whole.then(|| (name.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
