//! The file that keeps what was measured on devices between runs.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::placement::{Calibration, Placer};
use crate::runtime::Core;
use crate::sync::lock;

/// Most bytes of a file that is one of ours.
const MOST_BYTES: u64 = 4 << 20;

/// Has devices begin with what the file says of the same hardware. A file that is missing, or is of
/// no use, is passed over: devices are measured again.
pub(crate) fn recall(path: &Path, placer: &mut Placer) {
    match read(path) {
        Ok(calibration) if calibration.is_current() => {
            let devices = placer.recall(&calibration);
            tracing::debug!(path = %path.display(), devices, "calibration recalled");
        }
        Ok(_) => {
            tracing::info!(path = %path.display(), "a calibration of another version is not used")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "a calibration is not used"),
    }
}

fn read(path: &Path) -> io::Result<Calibration> {
    // Before it is opened: a pipe would wait for who writes it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let file = File::open(path)?;
    Ok(serde_json::from_reader(BufReader::new(
        file.take(MOST_BYTES),
    ))?)
}

/// Writes a file, whole or not at all, in a folder that is made where it is missing.
fn write(path: &Path, calibration: &Calibration) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut file, calibration)?;
    file.persist(path)?;
    Ok(())
}

impl Core {
    /// Keeps what was measured, if there is a file for it and something to choose by it.
    pub(crate) fn keep_calibration(&self) {
        let Some(path): Option<&PathBuf> = self.options.calibration.as_ref() else {
            return;
        };
        let placer = lock(&self.placer);
        if !placer.has_placed() {
            return;
        }
        let calibration = placer.calibration();
        drop(placer);
        if let Err(error) = write(path, &calibration) {
            tracing::warn!(path = %path.display(), %error, "the calibration is not kept");
        }
    }
}
