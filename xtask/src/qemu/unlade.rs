//! The command `unlade`, as users have it, for a machine in which nothing is installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::initramfs::{File, LIBRARIES, PROGRAM, read};
use crate::step::{built_binary, command};

/// Builds the command, and gives it with the libraries that it is linked with: it is what the tests of
/// the workspace have built, and would have to be built anew to have them inside.
pub(super) fn built(folder: &Path) -> Result<Vec<File>, String> {
    let mut build = command("cargo", &["build", "--quiet", "--workspace"]);
    build.args(["--bin", "unlade"]);
    build.arg("--message-format=json-render-diagnostics");
    println!("    {build:?}");
    let out = build.stderr(Stdio::inherit()).output();
    let out = out.map_err(|error| format!("{build:?}: {error}"))?;
    let built = built_binary(&String::from_utf8_lossy(&out.stdout));
    let built = built
        .filter(|_| out.status.success())
        .ok_or("unlade does not build")?;
    // What is for debuggers is most of what the machine would have to read.
    let stripped = folder.join("unlade").display().to_string();
    said("strip", &["--strip-all", "-o", &stripped, &built])?;
    let mut files = vec![(
        "bin/unlade".to_owned(),
        PROGRAM,
        read(Path::new(&stripped))?,
    )];
    for library in libraries(&said("ldd", &[&stripped])?) {
        let name = library.file_name().unwrap_or_default().to_string_lossy();
        files.push((format!("{LIBRARIES}/{name}"), PROGRAM, read(&library)?));
    }
    Ok(files)
}

/// The files that `ldd` names, the loader among them; one that the kernel itself provides is no file.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    let words = ldd.lines().flat_map(str::split_whitespace);
    let files = words.filter(|word| word.starts_with('/'));
    files.map(PathBuf::from).collect()
}

/// What a program prints, which has to succeed.
fn said(program: &str, words: &[&str]) -> Result<String, String> {
    let mut run = command(program, words);
    let out = run.output().map_err(|error| format!("{run:?}: {error}"))?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => Err(format!(
            "{run:?}: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_files_that_ldd_names() {
        let ldd = "\tlinux-vdso.so.1 (0x00007f9adba73000)\n\
                   \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f9ad841e000)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f9adba75000)\n";
        let found = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(libraries(ldd), found.map(PathBuf::from));
        let failed = said("ldd", &["/nowhere"]).unwrap_err();
        assert!(failed.contains("/nowhere"), "{failed}");
    }
}
