//! `unlade top`: what a runtime is doing, live from a process or replayed from a file.

mod draw;
#[cfg(test)]
mod fixture;
mod panes;
mod plain;
mod screen;
mod source;
mod view;

use std::io::IsTerminal;
use std::time::Duration;

use self::source::Source;
use crate::args::TopArgs;
use crate::error::Failure;
use crate::{interrupt, report};

pub(crate) fn run(args: &TopArgs) -> Result<(), Failure> {
    let mut source = Source::open(&args.path, Duration::from_secs(args.timeout))?;
    if let Some(cut_off) = source.cut_off() {
        report::say(format_args!("{cut_off}"));
    }
    if args.json || args.once || !std::io::stdout().is_terminal() {
        let text = match args.json {
            true => serde_json::to_string(&source.latest()?).expect("a snapshot has a form") + "\n",
            false => {
                let (before, now) = source.latest_two()?;
                plain::text(&now, before.as_ref())
            }
        };
        return report::print(text.as_bytes());
    }
    interrupt::watch()?;
    screen::show(source)
}
