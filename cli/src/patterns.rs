//! Patterns of file names.

use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;
use walkdir::WalkDir;

use crate::error::Failure;

/// What makes a name a pattern.
const WILD: [char; 3] = ['*', '?', '['];

/// Whether it is a pattern rather than a name.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(WILD)
}

/// The files that match, in the order of their paths. `*`, `?` and `[...]` match within a name, `**`
/// any number of folders, and `{a,b}` in a pattern either; links are followed, but not back to where
/// they came from.
///
/// Names need not be UTF-8. A link that matches and leads nowhere is an error: what it stood for
/// would be missing.
pub(crate) fn files(pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    // As a walk spells its paths: with one separator each, and without `.` in between.
    let spelt: PathBuf = Path::new(pattern).components().collect();
    let matcher = GlobBuilder::new(&spelt.to_string_lossy())
        .literal_separator(true)
        .build()
        .map_err(|error| Failure::usage(format!("`{pattern}` is no pattern: {error}")))?
        .compile_matcher();
    let (start, depth) = start(pattern);
    let here = Path::new(".");
    let mut walk = WalkDir::new(start.as_deref().unwrap_or(here)).follow_links(true);
    if let Some(depth) = depth {
        walk = walk.max_depth(depth);
    }
    let mut found = Vec::new();
    for entry in walk {
        let (path, failure) = match &entry {
            Ok(entry) if entry.file_type().is_file() => (Some(entry.path()), None),
            Ok(_) => continue,
            // What lies behind it was seen before.
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => (error.path(), Some(error)),
        };
        let Some(path) = path else { continue };
        // Without a folder in the pattern there is none in the names.
        let path = match &start {
            None => path.strip_prefix(here).unwrap_or(path),
            Some(_) => path,
        };
        let of_interest = matcher.is_match(path);
        match failure {
            None if of_interest => found.push(path.to_owned()),
            Some(error) if of_interest || path.is_dir() => {
                return Err(Failure::file(format!("{}: {error}", path.display())));
            }
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}

/// The folder below which everything is that may match, if it is not this one, and how many levels
/// below, if that is bounded.
fn start(pattern: &str) -> (Option<PathBuf>, Option<usize>) {
    let components: Vec<Component<'_>> = Path::new(pattern).components().collect();
    let is_wild = |component: &&Component<'_>| is_pattern(&component.as_os_str().to_string_lossy());
    let fixed = components.iter().take_while(|each| !is_wild(each)).count();
    let folder: PathBuf = components[..fixed].iter().collect();
    let depth = (!pattern.contains("**")).then_some(components.len() - fixed);
    ((fixed > 0).then_some(folder), depth)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with these files in it, and what a pattern in it finds.
    fn finds(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, Failure> {
        let found = files(&format!("{}/{pattern}", folder.display()))?;
        let names = found.iter().map(|path| path.strip_prefix(folder).unwrap());
        Ok(names.map(Path::to_owned).collect())
    }

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn names_match_within_a_folder_and_below() {
        let folder = folder(&["b.x", "a.x", "c.y", "d/a.x", "d/e/b.x"]);
        let finds = |pattern| finds(folder.path(), pattern).unwrap();
        assert_eq!(finds("*.x"), paths(&["a.x", "b.x"]));
        assert_eq!(finds("[bc].?"), paths(&["b.x", "c.y"]));
        assert_eq!(finds(".//*.y"), paths(&["c.y"]));
        assert_eq!(finds("?.{y,z}"), paths(&["c.y"]));
        assert_eq!(finds("*/*.x"), paths(&["d/a.x"]));
        assert_eq!(finds("d/**/*.x"), paths(&["d/a.x", "d/e/b.x"]));
        assert_eq!(finds("**/b.x"), paths(&["b.x", "d/e/b.x"]));
        assert_eq!(finds("z*"), paths(&[]));
        assert!(files("a[").is_err());
    }

    #[test]
    fn names_that_are_no_text_match_too() {
        let folder = folder(&["a.x"]);
        let name = OsStr::from_bytes(b"b\xff.x");
        fs::write(folder.path().join(name), "").unwrap();
        let found = finds(folder.path(), "*.x").unwrap();
        assert_eq!(found, [PathBuf::from("a.x"), PathBuf::from(name)]);
    }

    #[test]
    fn links_are_followed_but_not_in_circles() {
        let folder = folder(&["d/a.x"]);
        symlink(".", folder.path().join("d/loop")).unwrap();
        symlink("d", folder.path().join("again")).unwrap();
        let found = finds(folder.path(), "**/*.x").unwrap();
        assert_eq!(found, paths(&["again/a.x", "d/a.x"]));
    }

    #[test]
    fn a_link_to_nothing_is_missed() {
        let folder = folder(&["a.x"]);
        symlink("gone", folder.path().join("b.x")).unwrap();
        symlink("gone", folder.path().join("c.y")).unwrap();
        let error = finds(folder.path(), "*.x").unwrap_err().to_string();
        assert!(error.contains("b.x"), "{error}");
        assert_eq!(finds(folder.path(), "a.*").unwrap(), paths(&["a.x"]));
    }
}
