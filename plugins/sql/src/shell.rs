//! The shell at a terminal: reads statements and commands, and goes on after errors and Ctrl-C.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustyline::config::CompletionType;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use crate::commands::{self, Next};
use crate::completion::Assistant;
use crate::error::{Failure, say};
use crate::session::Session;

const PROMPT: &str = "unlade> ";

/// Reads and runs until `\q` or the end of input.
///
/// # Errors
/// A terminal that cannot be read, and output that nobody reads any more.
pub(crate) fn run(session: &mut Session, history: Option<&Path>) -> Result<(), Failure> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(true);
    let mut editor: Editor<Assistant, FileHistory> =
        Editor::with_config(config.build()).map_err(unreadable)?;
    let history = history.map(Path::to_owned).or_else(usual_history);
    let history = history.filter(|file| file.as_os_str() != "none");
    if let Some(file) = &history {
        // There is none at first.
        let _ = editor.load_history(file);
    }
    editor.set_helper(Some(Assistant::default()));
    say("\\? lists commands, \\q ends; statements end with a semicolon");
    loop {
        if let Some(assistant) = editor.helper_mut() {
            assistant.learn(session);
        }
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::Interrupted => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(unreadable(error)),
        };
        if let Some(file) = &history {
            keep(&mut editor, file);
        }
        session.forget_interrupt();
        let ran = match line.trim().strip_prefix('\\') {
            Some(command) => commands::run(session, command),
            None => session.execute(&line).map(|()| Next::Read),
        };
        match ran {
            Ok(Next::Read) => {}
            Ok(Next::End) => break,
            Err(Failure::Closed) => return Err(Failure::Closed),
            Err(failure) => failure.say(),
        }
    }
    Ok(())
}

/// `unlade/sql-history` in the folder for what programs remember.
fn usual_history() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from);
    let state = absolute("XDG_STATE_HOME").filter(|folder| folder.is_absolute());
    let state = state.or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("unlade/sql-history"))
}

/// A history that cannot be written is no reason to stop.
fn keep(editor: &mut Editor<Assistant, FileHistory>, file: &Path) {
    let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    let kept = folder.map_err(ReadlineError::from);
    if let Err(error) = kept.and_then(|()| editor.append_history(file)) {
        tracing::info!("{}: {error}", file.display());
    }
}

fn unreadable(error: ReadlineError) -> Failure {
    Failure::file(format!("the terminal: {error}"))
}
