//! JSON files that appear only when they are whole.

use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use unlade_ingest::WholeFile;

use crate::error::{self, Failure};
use crate::report;

/// Writes a document under a name.
pub(crate) fn write(path: &Path, document: &impl Serialize) -> Result<(), Failure> {
    whole(path, |out| {
        serde_json::to_writer(out, document).map_err(std::io::Error::from)
    })
}

/// Whether a report is to go to standard output.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Writes a file that gets its name when it is whole.
pub(crate) fn whole(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), Failure> {
    if is_standard_output(path) {
        let mut text = Vec::new();
        fill(&mut text).expect("memory takes any text");
        return report::print(&text);
    }
    let attempt = || {
        // Pipes and devices such as /dev/stderr are written as they are.
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let mut out = BufWriter::new(std::fs::File::options().write(true).open(path)?);
            fill(&mut out)?;
            return out.flush();
        }
        let mut out = BufWriter::new(WholeFile::create(path)?);
        fill(&mut out)?;
        let file = out
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        file.keep()
    };
    attempt().map_err(|error| {
        let said = error::system(&error);
        Failure::file(format!("{}: cannot write: {said}", path.display()))
    })
}
