//! Files that a run would take from itself: replacing an input while it is read, or one result by
//! another, is a mistake.

use std::path::{Path, PathBuf};

use unlade_ingest::Input;

use crate::args::RunArgs;
use crate::error::Failure;
use crate::report::json;
use crate::session;

/// Symbolic links that are followed one after another, as many as Linux follows.
const MAX_LINKS: usize = 40;

/// Refuses what would overwrite an input or another result; and a folder that is not there, which is
/// better said before the work than after it.
pub(super) fn refuse(args: &RunArgs) -> Result<(), Failure> {
    let mut taken: Vec<(PathBuf, String)> = Vec::new();
    for input in session::inputs(&args.query.inputs)? {
        match input {
            Input::File(path) => {
                let name = path.display().to_string();
                taken.push((
                    std::fs::canonicalize(&path).unwrap_or(path),
                    format!("the input {name}"),
                ));
            }
            Input::Stdin => {
                let file = redirected("/dev/stdin").into_iter();
                taken.extend(file.map(|file| (file, "the input on standard input".to_owned())));
            }
        }
    }
    let output = args
        .output
        .as_deref()
        .filter(|output| *output != "-")
        .map(Path::new);
    if output.is_none() {
        let file = redirected("/dev/stdout").into_iter();
        taken.extend(file.map(|file| (file, "the result on standard output".to_owned())));
    }
    let written = [
        ("--output", output),
        ("--receipts", args.receipts.as_deref()),
        ("--metrics", args.metrics.as_deref()),
        ("--top-socket", args.top_socket.as_deref()),
        ("--record-top", args.record_top.as_deref()),
        ("--trace", args.trace.as_deref()),
        ("--timeline", args.timeline.as_deref()),
        ("--record", args.record.as_deref()),
    ];
    let mut printed = match args.output.as_deref() {
        None | Some("-") => "the result, which goes there without -o FILE",
        Some(_) => "",
    };
    for (flag, path) in written {
        let Some(path) = path else { continue };
        if json::is_standard_output(path) {
            if flag.ends_with("top-socket") || flag.ends_with("record-top") {
                return Err(Failure::usage(format!(
                    "{flag} is not for standard output; a file named - is ./-"
                )));
            }
            if !printed.is_empty() {
                return Err(Failure::usage(format!(
                    "{flag} - would mix with {printed} on standard output; a file named - is ./-"
                )));
            }
            printed = flag;
            continue;
        }
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            continue; // a device or a pipe, which several may write
        }
        let Some(place) = place(path) else {
            let shown = path.display();
            return Err(Failure::file(format!(
                "{shown}: {flag} names no file in an existing folder"
            )));
        };
        if let Some((_, other)) = taken.iter().find(|(other, _)| *other == place) {
            return Err(Failure::usage(format!(
                "{flag} {} would overwrite {other}",
                path.display()
            )));
        }
        taken.push((place, format!("what {flag} writes")));
    }
    Ok(())
}

/// The file that a stream of this process comes from or goes to, if it is one.
fn redirected(stream: &str) -> Option<PathBuf> {
    std::fs::canonicalize(stream)
        .ok()
        .filter(|path| path.is_file())
}

/// Where a file is, or will be once it is written. A link that leads nowhere counts as what it leads
/// to: a run may make just that before it comes to the link. `None` for a folder, and for a file of
/// a folder that does not exist.
fn place(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return None;
    }
    let mut place = within_folder(path)?;
    for _ in 0..MAX_LINKS {
        let Ok(target) = std::fs::read_link(&place) else {
            break;
        };
        let folder = place.parent().unwrap_or(Path::new("/"));
        match within_folder(&folder.join(target)) {
            Some(next) => place = next,
            // Nothing can be written there: the link itself will be replaced.
            None => break,
        }
    }
    Some(place)
}

/// The same file, by the one true name of the folder that it is in.
fn within_folder(path: &Path) -> Option<PathBuf> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Some(std::fs::canonicalize(folder).ok()?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_place_is_what_the_links_lead_to_whether_it_is_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        let at = |name: &str| root.join(name);
        std::fs::create_dir(at("d")).unwrap();
        std::fs::write(at("there"), "").unwrap();
        for (link, target) in [
            ("to-there", "there"),
            ("d/up", "../absent"),
            ("twice", "d/up"),
            ("absolute", root.join("absent").to_str().unwrap()),
            ("to-nowhere", "no/folder"),
            ("round", "round"),
            ("e", "d"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        for (path, expected) in [
            ("there", Some("there")),
            ("to-there", Some("there")),
            ("d/../there", Some("there")),
            ("absent", Some("absent")),
            ("d/up", Some("absent")),
            ("e/up", Some("absent")),
            ("twice", Some("absent")),
            ("absolute", Some("absent")),
            ("e/new", Some("d/new")),
            ("to-nowhere", Some("to-nowhere")),
            ("round", Some("round")),
            ("d", None),
            ("e", None),
            ("no/new", None),
        ] {
            assert_eq!(place(&at(path)), expected.map(at), "{path}");
        }
    }
}
