//! Input files mapped into memory.

mod guard;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use arrow_buffer::Buffer;
use memmap2::Mmap;

use guard::Watch;

/// A file whose bytes are read where the system caches them, without a copy.
///
/// Mapping is opt-in, because it trusts the file: while the mapping lives, nobody may change the
/// file's bytes or make it shorter. A file that is replaced (written beside and renamed, as this
/// project writes its own) is fine. One that shrinks makes the process die of `SIGBUS` at the
/// first touch of a page that is gone. [`check`](MappedFile::check) just before a part is read
/// turns nearly all such cases into an error; a program that has called
/// [`survive_missing_pages`](MappedFile::survive_missing_pages) lives through the rest, and `check`
/// after the part was read tells. Who cannot trust the file reads it instead.
///
/// ```
/// use unlade_hal::MappedFile;
///
/// let path = std::env::temp_dir().join("unlade-mapped-example");
/// std::fs::write(&path, b"columns")?;
/// let file = MappedFile::open(&path)?;
/// file.check()?;
/// assert_eq!(file.slice(0..3).unwrap().as_slice(), b"col");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MappedFile {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    file: File,
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Watched>,
}

#[derive(Debug)]
struct Watched {
    // Dropped first: nothing watches memory that is not mapped.
    watch: Watch,
    map: Mmap,
}

/// A mapped file is not what it was when it was mapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileChanged {
    /// It is shorter.
    #[error(
        "{} shrank from {mapped} to {now} bytes while it was mapped; do not map files that others \
         write",
        .path.display()
    )]
    Shrank {
        /// The file.
        path: PathBuf,
        /// Its length when it was mapped, in bytes.
        mapped: u64,
        /// Its length now, in bytes.
        now: u64,
    },
    /// A part of it could not be read when it was touched, and zeros were read in its place: it
    /// was shorter for a while, or its disk fails.
    #[error(
        "a part of {} could not be read while it was mapped; do not map files that others write",
        .path.display()
    )]
    Torn {
        /// The file.
        path: PathBuf,
    },
}

impl MappedFile {
    /// Maps a file of any length.
    ///
    /// # Errors
    /// As the system says; [`io::ErrorKind::InvalidInput`] where it is no regular file.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let message = format!("{} is no regular file and cannot be mapped", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let map = match metadata.len() {
            0 => None,
            _ => {
                // SAFETY: A read-only mapping of a regular file. Rust demands that the bytes do not
                // change while they are borrowed, which no call can make sure of: it is the trust in
                // the file that the type's documentation, docs/UNSAFE.md and the opt-in switch state.
                let map = unsafe { Mmap::map(&file) }?;
                Some(Watched {
                    watch: Watch::new(&map),
                    map,
                })
            }
        };
        Ok(MappedFile {
            shared: Arc::new(Shared { path, file, map }),
        })
    }

    /// The file's name as it was given.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Length in bytes when it was mapped.
    pub fn len(&self) -> u64 {
        self.bytes().len() as u64
    }

    /// Whether the file was empty when it was mapped.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// An error if the file is shorter than it was, or a part of it was missing when it was
    /// touched. One system call: make it before each part of some megabytes, and once more after
    /// the last, so that what was read is known to be whole.
    ///
    /// # Errors
    /// [`FileChanged`], also where the file can no longer be asked.
    pub fn check(&self) -> Result<(), FileChanged> {
        let now = self
            .shared
            .file
            .metadata()
            .map_or(0, |metadata| metadata.len());
        let mapped = self.len();
        let path = || self.shared.path.clone();
        if now < mapped {
            return Err(FileChanged::Shrank {
                path: path(),
                mapped,
                now,
            });
        }
        if self
            .shared
            .map
            .as_ref()
            .is_some_and(|watched| watched.watch.is_torn())
        {
            return Err(FileChanged::Torn { path: path() });
        }
        Ok(())
    }

    /// Makes this process live through the touch of a page of a mapped file that is gone: from now
    /// on zeros are read there, and [`check`](Self::check) says so. Installs a handler for
    /// `SIGBUS`, once; any other `SIGBUS` goes to whatever handled it before.
    ///
    /// For programs, not for libraries: signal handlers are the whole process's.
    ///
    /// # Errors
    /// As the system says.
    pub fn survive_missing_pages() -> io::Result<()> {
        guard::install()
    }

    /// All bytes. See the type's documentation for what a shrinking file does.
    pub fn bytes(&self) -> &[u8] {
        self.shared.map.as_ref().map_or(&[], |watched| &watched.map)
    }

    /// All bytes as an Arrow buffer, without a copy. The mapping lives as long as the buffer.
    pub fn buffer(&self) -> Buffer {
        let Some(Watched { map, .. }) = &self.shared.map else {
            return Buffer::default();
        };
        let start = NonNull::new(map.as_ptr().cast_mut()).expect("a mapping is not at page 0");
        // SAFETY: The mapping is valid for reads of its length and lives as long as `shared`,
        // which the buffer owns from here on. Nothing writes through it: the pages are mapped
        // read-only, and a buffer with a foreign owner is never made mutable.
        unsafe { Buffer::from_custom_allocation(start, map.len(), self.shared.clone()) }
    }

    /// Some bytes as an Arrow buffer, without a copy; `None` where the file is not that long.
    pub fn slice(&self, range: Range<u64>) -> Option<Buffer> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let len = (range.end - range.start) as usize;
        Some(self.buffer().slice_with_length(range.start as usize, len))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    fn written(name: &str, bytes: &[u8]) -> PathBuf {
        let name = format!("unlade-hal-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn buffers_outlive_the_handle_and_copy_nothing() {
        let path = written("outlive", b"0123456789");
        let file = MappedFile::open(&path).unwrap();
        assert_eq!((file.len(), file.path()), (10, path.as_path()));
        let address = file.bytes().as_ptr();
        let part = file.slice(2..5).unwrap();
        assert_eq!(part.as_ptr() as usize, address as usize + 2);
        assert!(file.slice(5..11).is_none());
        #[allow(clippy::reversed_empty_ranges)] // bad input is what is tested
        let reversed = file.slice(5..2);
        assert!(reversed.is_none());
        drop(file);
        std::fs::remove_file(&path).unwrap(); // the mapping holds the bytes
        assert_eq!(part.as_slice(), b"234");
    }

    #[test]
    fn a_file_that_shrank_is_found_before_it_is_touched() {
        let path = written("shrank", &[1; 10_000]);
        let file = MappedFile::open(&path).unwrap();
        assert_eq!(file.check(), Ok(()));
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(5000)
            .unwrap();
        let shrank = file.check().unwrap_err();
        let wanted = FileChanged::Shrank {
            path: path.clone(),
            mapped: 10_000,
            now: 5000,
        };
        assert_eq!(shrank, wanted);
        assert!(
            shrank
                .to_string()
                .contains("shrank from 10000 to 5000 bytes")
        );
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn missing_pages_are_read_as_zeros_and_told() {
        MappedFile::survive_missing_pages().unwrap();
        MappedFile::survive_missing_pages().unwrap(); // twice is once
        const LEN: usize = 64 << 10;
        let path = written("torn", &[1; LEN]);
        let file = MappedFile::open(&path).unwrap();
        let handle = File::options().write(true).open(&path).unwrap();
        handle.set_len(100).unwrap();
        let buffer = file.buffer();
        let sum: usize = buffer.iter().map(|byte| usize::from(*byte)).sum();
        assert_eq!(sum, 100);
        handle.set_len(LEN as u64).unwrap(); // long enough again, but what was read is wrong
        assert_eq!(file.check(), Err(FileChanged::Torn { path: path.clone() }));
        drop((file, buffer));
        let again = MappedFile::open(&path).unwrap();
        assert_eq!(again.check(), Ok(()), "a new mapping is whole");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn another_sigbus_still_ends_the_process() {
        MappedFile::survive_missing_pages().unwrap();
        let memory = {
            // A mapping that nobody watches.
            let path = written("unwatched", &[1; 10_000]);
            let file = File::options().read(true).write(true).open(&path).unwrap();
            // SAFETY: Nothing but the child below touches the bytes once the file is short.
            let map = unsafe { Mmap::map(&file) }.unwrap();
            file.set_len(0).unwrap();
            std::fs::remove_file(&path).unwrap();
            map
        };
        // SAFETY: The child does one load, and dies of it.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork failed");
        if child == 0 {
            let no_core = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: Reads a limit that outlives the call: the child leaves no core file.
            unsafe { libc::setrlimit(libc::RLIMIT_CORE, &no_core) };
            // SAFETY: In bounds; that the page is gone is the point.
            unsafe { std::ptr::read_volatile(memory.as_ptr().add(9000)) };
            // SAFETY: Ends the child, with a status that the parent does not expect.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: Waits for our own child; `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(libc::WIFSIGNALED(status), "status {status}");
        assert_eq!(libc::WTERMSIG(status), libc::SIGBUS);
    }

    #[test]
    fn empty_files_and_directories() {
        let path = written("empty", b"");
        let file = MappedFile::open(&path).unwrap();
        assert!(file.is_empty() && file.buffer().is_empty() && file.check().is_ok());
        std::fs::remove_file(&path).unwrap();
        let error = MappedFile::open(std::env::temp_dir()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(MappedFile::open("/nowhere/at/all").is_err());
    }
}
