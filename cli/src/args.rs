//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{
    ArgMatches, Args, Command as Line, CommandFactory, FromArgMatches, Parser, Subcommand,
    ValueEnum,
};

use crate::config::{Names, Settings, variable};
use crate::error::Failure;
use crate::report;

/// Filter and project Parquet and Arrow files on a GPU, a DPU card or the CPU, with the same bits
/// whichever ran it.
#[derive(Debug, Parser)]
#[command(name = "unlade", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more; twice for each step
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Colours: auto follows the terminal and NO_COLOR
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
    /// Settings file; else ./unlade.toml, else unlade/unlade.toml in the user's configuration
    #[arg(long, global = true, value_name = "FILE", env = "UNLADE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  unlade run trips.parquet --where 'distance > 10 and fare is not null' --limit 5
  unlade run 'part-*.parquet' --select 'id, price * 2 as twice' -o out.parquet
  unlade explain trips.parquet --where 'cast(a as bigint) > 1'
  unlade demo

Exit codes:
  0  success, or the reader of the output went away
  1  an error in the data: overflow, division by zero, a bad cast
  2  a wrong command line, expression, setting or column
  3  a file that cannot be read or written
  4  a device or memory that cannot do it
  130  interrupted by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP; 0 of `unlade card`

Every setting is a flag, an UNLADE_* variable (UNLADE_DEVICE, UNLADE_THREADS ...) or a line of
unlade.toml, in this order of precedence.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Filter and project files
    Run(Box<RunArgs>),
    /// Show what run would do, and why, without doing it
    Explain(ExplainArgs),
    /// Run a recorded schedule again on other devices, in virtual time: what would two GPUs bring?
    Replay(ReplayArgs),
    /// List the devices
    Devices(DevicesArgs),
    /// List the functions of the expression language
    Functions(FunctionsArgs),
    /// Find out what is present, what is missing and how to get it
    Doctor(DoctorArgs),
    /// Serve a simulated DPU card at a socket, for this command, other drivers and virtual machines
    Card(CardArgs),
    /// Watch what a running process does, or did
    Top(TopArgs),
    /// Run three queries on made-up data on every device and compare the results
    Demo(DemoArgs),
    /// Print a shell's completion script
    Completions(CompletionsArgs),
}

/// What to say of a query.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    /// Add a table of what each device is predicted to take, term by term
    #[arg(long, help_heading = "Reports")]
    pub(crate) why: bool,
}

/// A query over files.
#[derive(Clone, Debug, Args)]
pub(crate) struct QueryArgs {
    /// Parquet or Arrow IPC files of one schema, read in this order; patterns with * ? [] are
    /// expanded and sorted; - is standard input
    #[arg(value_name = "INPUT", required = true)]
    pub(crate) inputs: Vec<String>,
    /// Columns to put out: expressions separated by commas, each with an optional `as NAME`; * is
    /// all columns
    #[arg(
        long,
        value_name = "LIST",
        default_value = "*",
        long_help = SELECT_HELP,
        allow_hyphen_values = true
    )]
    pub(crate) select: String,
    /// Which rows to keep: those on which this is true [default: all]
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) rules: RuleArgs,
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
}

const SELECT_HELP: &str = "\
Columns to put out: expressions separated by commas, each with an optional `as NAME`; * is all \
columns.

A name without quotes stands for the column of exactly that name, or else for the only one that \
differs in letter case; two such columns are an error. In double quotes it stands for exactly that \
name, and may hold any character: \"Unit Price\". Rows keep the order of the inputs.";

/// What expressions mean.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Meaning")]
pub(crate) struct RuleArgs {
    /// Whose rules hold where engines differ: arrow, datafusion, spark-legacy or spark-ansi
    /// [default: arrow]
    #[arg(long, value_name = "RULES", env = "UNLADE_SEMANTICS")]
    pub(crate) semantics: Option<String>,
    /// Integer overflow: trap (an error) or wrap [default: as the rules have it; arrow: trap]
    #[arg(long, value_name = "MODE", env = "UNLADE_OVERFLOW")]
    pub(crate) overflow: Option<OverflowChoice>,
    /// A cast's impossible values: null or trap (an error) [default: as the rules have it; arrow:
    /// trap]
    #[arg(long, value_name = "MODE", env = "UNLADE_CAST")]
    pub(crate) cast: Option<CastChoice>,
    /// What errors call these.
    #[arg(skip)]
    pub(crate) names: Names,
}

/// What may be used.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Resources")]
pub(crate) struct ResourceArgs {
    /// Device by name (see `unlade devices`), sim-gpu or sim-dpu for a simulated GPU or card,
    /// dpu:unix:PATH or dpu:PCI-ADDRESS for a card, or auto, which never picks a simulator
    /// [default: auto]
    #[arg(long, value_name = "NAME", env = "UNLADE_DEVICE")]
    pub(crate) device: Option<String>,
    /// Threads [default: one per core, fewer under a small `ulimit -v`]
    #[arg(long, value_name = "N", env = "UNLADE_THREADS")]
    pub(crate) threads: Option<usize>,
    /// Memory for batches, half for those read and half for results, such as 512MB or 2GiB
    /// [default: a quarter of the machine's; least: 1MB]
    #[arg(long, value_name = "SIZE", env = "UNLADE_MEMORY")]
    pub(crate) memory: Option<String>,
    /// Most rows of a batch; it has fewer where so many take too much memory [default: 65536]
    #[arg(long, value_name = "N", env = "UNLADE_BATCH_ROWS")]
    pub(crate) batch_rows: Option<usize>,
    /// Map input files and use them in place; trusts them not to shrink [default: false]
    #[arg(long, env = "UNLADE_MMAP", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) mmap: Option<bool>,
    /// Fail rather than run elsewhere what the device cannot [default: false]
    #[arg(long, env = "UNLADE_NO_FALLBACK", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true",
        value_parser = BoolishValueParser::new())]
    pub(crate) no_fallback: Option<bool>,
    /// Keep devices out of all memory but what is sent to them, and copy what they write before it
    /// is read [default: false]
    #[arg(long, env = "UNLADE_UNTRUSTED", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true",
        value_parser = BoolishValueParser::new())]
    pub(crate) untrusted: Option<bool>,
    /// Keep what was measured on devices in this file, for auto to know them from the start; it is
    /// written where batches had a choice of devices, else left as it is; `none` keeps nothing
    /// [default: unlade/calibration.json in ~/.cache]
    #[arg(long, value_name = "FILE", env = "UNLADE_CALIBRATION")]
    pub(crate) calibration: Option<PathBuf>,
    /// What errors call these.
    #[arg(skip)]
    pub(crate) names: Names,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    /// Write here: .parquet, .arrow, .arrows or .csv; - is standard output [default: a table there]
    #[arg(short, long, value_name = "OUT", help_heading = "Output")]
    pub(crate) output: Option<String>,
    /// Format to write, where the name does not tell [default: arrows on standard output]
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) format: Option<FormatChoice>,
    /// Stop after this many rows [default: all; a table shows 40]
    #[arg(long, value_name = "N", help_heading = "Output", value_parser = rows,
        allow_negative_numbers = true)]
    pub(crate) limit: Option<u64>,
    /// Print the plan first
    #[arg(long, help_heading = "Reports")]
    pub(crate) explain: bool,
    /// Write what became of each batch, as JSON; - is standard output, also for the other reports
    #[arg(long, value_name = "FILE.json", help_heading = "Reports")]
    pub(crate) receipts: Option<PathBuf>,
    /// Write the run's metrics in Prometheus' text form; docs/METRICS.md says what each is
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub(crate) metrics: Option<PathBuf>,
    /// Serve the metrics over HTTP while it runs, at an address such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS", help_heading = "Reports",
        hide = cfg!(not(feature = "prometheus")))]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Make a socket for this user alone, at which `unlade top PATH` watches the run
    #[arg(long, value_name = "PATH", help_heading = "Reports")]
    pub(crate) top_socket: Option<PathBuf>,
    /// Record what `unlade top FILE` shows later, twice a second
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub(crate) record_top: Option<PathBuf>,
    /// Write a trace that opens in Perfetto
    #[arg(long, value_name = "FILE.json", help_heading = "Reports")]
    pub(crate) trace: Option<PathBuf>,
    /// Draw what each queue of each device did when
    #[arg(long, value_name = "FILE.svg", help_heading = "Reports")]
    pub(crate) timeline: Option<PathBuf>,
    /// Record what came when and what became of it, for `unlade replay`
    #[arg(long, value_name = "FILE.jsonl", help_heading = "Reports")]
    pub(crate) record: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// What `unlade run --record FILE.jsonl` wrote
    #[arg(value_name = "FILE.jsonl")]
    pub(crate) recording: PathBuf,
    /// Devices to run it on: recorded ones by name, or profile:cpu and profile:gpu, of which nothing
    /// was measured; several separated by commas or by repeating the flag; NAME*COUNT for so many of
    /// one; NAME@LINK for devices that share a link, by its number [default: the recorded ones]
    #[arg(long = "device", value_name = "LIST")]
    pub(crate) devices: Vec<String>,
    /// What placement aims at [default: as recorded]
    #[arg(long, value_name = "AIM")]
    pub(crate) objective: Option<ObjectiveChoice>,
    /// Where batches go: auto places each anew, recorded leaves each on the device that it ran on, or
    /// another of the same
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) policy: PolicyChoice,
    /// Draw what each queue of each device did when
    #[arg(long, value_name = "FILE.svg", help_heading = "Reports")]
    pub(crate) timeline: Option<PathBuf>,
    /// As JSON
    #[arg(long, help_heading = "Reports")]
    pub(crate) json: bool,
}

const REPLAY_EXAMPLES: &str = "\
Examples:
  unlade run trips.parquet --where 'distance > 10' -o long.parquet --record run.jsonl
  unlade replay run.jsonl
  unlade replay run.jsonl --device 'cuda:0*2'
  unlade replay run.jsonl --device cpu,profile:gpu --timeline what-if.svg

docs/REPLAY.md says what is replayed, what is not, and what is in the file.";

#[derive(Clone, Debug, Args)]
pub(crate) struct DevicesArgs {
    /// Only this device; sim-gpu, sim-dpu and dpu:unix:PATH are listed only so
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// List the cards on the bus of a file system image instead of this machine's; none is opened
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) sysroot: PathBuf,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CardArgs {
    /// Where to make the socket, for this user alone; there must be nothing yet but what a card that
    /// was killed left
    #[arg(long, value_name = "PATH", required_unless_present = "for_parent")]
    pub(crate) socket: Option<PathBuf>,
    /// Kind of card: full has every operation, narrow no decimals, small few and little room
    #[arg(long, value_name = "NAME", default_value = "full")]
    pub(crate) profile: String,
    /// Let jobs go wrong in all ways a card can, by chance from this seed
    #[arg(long, value_name = "SEED")]
    pub(crate) faults: Option<u64>,
    /// Share the card by so many virtual functions, each a card with a user of its own: their sockets
    /// are PATH.1, PATH.2 and so on
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) functions: Option<u16>,
    /// Make the socket in a new folder, write its path and a zero byte to standard output, and end
    /// when the standard input does: for the command that has its other end
    #[arg(long, hide = true, conflicts_with_all = ["socket", "functions"])]
    pub(crate) for_parent: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct FunctionsArgs {
    /// Only functions whose name or text holds this; with --casts a type (`int`, `decimal`), a set of
    /// rules (`spark`), or a word of what a cast computes; `types` is how each type is written
    #[arg(value_name = "WORD")]
    pub(crate) word: Option<String>,
    /// Also list every cast with what it computes
    #[arg(long)]
    pub(crate) casts: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Look at a file system image instead of this machine
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) sysroot: PathBuf,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = TOP_HELP)]
pub(crate) struct TopArgs {
    /// Socket of a process (`run --top-socket`), or a file that was recorded (`run --record-top`)
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Print how things are once, as text, which is also done where standard output is no terminal; of
    /// a process it takes half a second, over which shares and rates are
    #[arg(long)]
    pub(crate) once: bool,
    /// Print how things are once, as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Give a process up that says nothing for so long before there is anything to show
    #[arg(long, value_name = "SECONDS", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
}

const TOP_HELP: &str = "\
Keys:
  q, esc           quit
  tab, ← →         choose a pane; where the terminal is small, only that one is shown
  ↑ ↓              scroll in it
  p, space         pause, play
  , .              of a recording: one back, one on; home, end: the first, the last
  [ ]              of a recording: half as fast, twice as fast";

#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// TPC-H scale: 1 is six million rows
    #[arg(long, value_name = "FACTOR", default_value_t = 0.1, value_parser = scale)]
    pub(crate) scale: f64,
    /// Keep the Parquet file in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Run the queries over this file on the simulated GPU, for the demonstration that asks
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) on_simulated_gpu: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ObjectiveChoice {
    /// The time to the result
    Latency,
    /// The time of the host's processor
    HostCpu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyChoice {
    Auto,
    Recorded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverflowChoice {
    Trap,
    Wrap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CastChoice {
    Null,
    Trap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatChoice {
    Parquet,
    /// Arrow IPC file
    Arrow,
    /// Arrow IPC stream
    Arrows,
    Csv,
    /// A table for reading
    Table,
}

fn rows(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "a number of rows, 0 or more; all without --limit".to_owned())
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // Of less than the least there is no supplier, and no line item without one.
        Ok(scale) if (0.0001..=100.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 0.0001 to 100".to_owned()),
    }
}

impl Arguments {
    /// Reads the command line and the variables; with what of it came from where.
    ///
    /// # Errors
    /// What clap says, of a variable by its name. Help and the version are errors, too, which are to
    /// be [shown](Refused).
    pub(crate) fn read() -> Result<(Self, ArgMatches), Refused> {
        let read = |line: Line| {
            let matches = line.try_get_matches()?;
            Ok((Self::from_arg_matches(&matches)?, matches))
        };
        read(Self::command()).map_err(|error: clap::Error| {
            // What is right without the variables is wrong because of one.
            match read(without_variables(Self::command())) {
                Ok(_) => Refused::Variable(of_variable(&error)),
                Err(of_line) if error.use_stderr() => Refused::Line(of_line),
                Err(_) => Refused::Line(error), // help, which names the variables
            }
        })
    }
}

/// Why there are no arguments.
#[derive(Debug)]
pub(crate) enum Refused {
    /// What is wrong with the line, or the help that it asks for.
    Line(clap::Error),
    /// What is wrong with a variable.
    Variable(String),
}

impl Refused {
    /// Prints it, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Refused::Variable(message) => Failure::usage(message).report(),
            Refused::Line(error) if error.use_stderr() => {
                // A standard error that is closed or full is no reason to say something else.
                let _ = error.print();
                Failure::usage(String::new()).exit_code().into()
            }
            Refused::Line(help) => {
                let styled = help.render();
                let text = match report::style::fits_standard_output() {
                    true => styled.ansi().to_string(),
                    false => styled.to_string(),
                };
                match report::print(text.as_bytes()) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(failure) => failure.report(),
                }
            }
        }
    }
}

fn without_variables(line: Line) -> Line {
    line.mut_args(|arg| arg.env(None::<&str>))
        .mut_subcommands(without_variables)
}

/// Clap's words about a flag, as they are of the variable.
fn of_variable(error: &clap::Error) -> String {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let flag = said(ContextKind::InvalidArg).unwrap_or_default();
    let flag = flag.trim_start_matches('-');
    let flag = flag.split([' ', '=', '[']).next().unwrap_or_default();
    let value = said(ContextKind::InvalidValue).unwrap_or_default();
    let mut message = format!("{}: `{value}` is no value for it", variable(flag));
    if let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue)
        && !values.is_empty()
    {
        message.push_str(&format!("; there are: {}", values.join(", ")));
    } else if let Some(source) = std::error::Error::source(error) {
        message.push_str(&format!(": {source}"));
    }
    message
}

impl RunArgs {
    /// With the settings of the file where no flag or variable says otherwise.
    pub(crate) fn merged(
        mut self,
        settings: &Settings,
        matches: &ArgMatches,
    ) -> Result<Self, Failure> {
        self.query = self.query.merged(settings, matches)?;
        Ok(self)
    }
}

impl QueryArgs {
    /// With the settings of the file where no flag or variable says otherwise.
    pub(crate) fn merged(
        mut self,
        settings: &Settings,
        matches: &ArgMatches,
    ) -> Result<Self, Failure> {
        let names = Names::of(matches, settings);
        let rules = &mut self.rules;
        rules.names = names.clone();
        rules.semantics = rules
            .semantics
            .take()
            .or_else(|| settings.semantics.clone());
        rules.overflow = match rules.overflow {
            Some(choice) => Some(choice),
            None => settings.choice("overflow", settings.overflow.as_deref())?,
        };
        rules.cast = match rules.cast {
            Some(choice) => Some(choice),
            None => settings.choice("cast", settings.cast.as_deref())?,
        };
        let resources = &mut self.resources;
        resources.names = names;
        resources.device = resources.device.take().or_else(|| settings.device.clone());
        resources.threads = resources.threads.or(settings.threads);
        resources.memory = resources.memory.take().or_else(|| settings.memory.clone());
        resources.batch_rows = resources.batch_rows.or(settings.batch_rows);
        resources.mmap = resources.mmap.or(settings.mmap);
        resources.no_fallback = resources.no_fallback.or(settings.no_fallback);
        resources.untrusted = resources.untrusted.or(settings.untrusted);
        resources.calibration = resources
            .calibration
            .take()
            .or_else(|| settings.calibration.clone());
        Ok(self)
    }
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
