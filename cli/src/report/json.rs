//! JSON files that appear only when they are whole.

use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::Failure;

/// Writes a document under a name.
pub(crate) fn write(path: &Path, document: &impl Serialize) -> Result<(), Failure> {
    whole(path, |out| {
        serde_json::to_writer(out, document).map_err(std::io::Error::from)
    })
}

/// Writes a file beside its name and gives it the name when it is whole.
pub(crate) fn whole(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let attempt = || {
        // Pipes and devices such as /dev/stderr are written as they are.
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let mut out = BufWriter::new(std::fs::File::options().write(true).open(path)?);
            fill(&mut out)?;
            return out.flush();
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::Builder::new()
            .prefix(".unlade-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        let mut out = BufWriter::new(file);
        fill(&mut out)?;
        let file = out
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        file.persist(path).map(drop).map_err(|failed| failed.error)
    };
    attempt().map_err(|error| Failure::file(format!("{}: cannot write: {error}", path.display())))
}
