//! `cargo xtask qemu`: cards behind a kernel's VFIO, without a card.
//!
//! A virtual machine of Debian's QEMU boots Debian's kernel with an emulated IOMMU. Each card is a
//! process outside of it, attached by `vfio-user-pci`; inside, the kernel's vfio-pci hands it to
//! `unlade-check-card`, and to the command `unlade`, which are all that is there but for a shell.
//! Nothing is installed, nobody has to be root, and no virtualisation is needed: the processor is
//! emulated too.
//!
//! | module | what it does |
//! |---|---|
//! | [`packages`] | QEMU, a kernel and busybox from Debian, unpacked in the user's cache |
//! | [`initramfs`] | what the machine boots into |
//! | [`card`] | a card's process |
//! | [`machine`] | one boot, within a time |
//! | [`unlade`] | the command, with its libraries |
//! | [`verdict`] | what the machine printed, against what it has to print |

mod card;
mod initramfs;
mod machine;
mod packages;
mod unlade;
mod verdict;

use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::step::{Outcome, built_binary, command};
use card::{Card, Role};
use machine::Cards;
use packages::Packages;

/// How to run it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Random programs that are run on the card
    #[arg(long, default_value_t = Options::default().cases)]
    cases: u64,
    /// Seed of the first
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
    /// A kernel of your own, as `bzImage`, through whose iommufd the cards are opened: Debian's have
    /// none. What it needs, all of it built in, is listed in xtask/src/qemu/iommufd.config
    #[arg(long, value_name = "FILE")]
    iommufd: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cases: 200,
            seed: 1,
            iommufd: None,
        }
    }
}

/// One start of the machine.
struct Boot {
    name: &'static str,
    /// Whether the machine has a second node of memory, which its cards are nearest to.
    far: bool,
    cards: &'static [Role],
    /// Whether the machine has the command `unlade`, too.
    command: bool,
    /// What is checked beside what each card's role says.
    checks: &'static [&'static str],
}

/// Checks that a kernel of one's own leaves out: of what iommufd does not limit, and of the command,
/// which is built without it.
const OF_GROUPS: [&str; 5] = [
    "no more mappings",
    "unlade devices",
    "unlade doctor",
    "unlade run",
    "unlade and another opener",
];

/// A machine that stands still must not spoil what the next one shows, so the long checks have one
/// of their own.
const BOOTS: [Boot; 2] = [
    Boot {
        name: "one-card",
        far: true,
        cards: &[Role::Sound],
        command: true,
        checks: &[
            "what is listed",
            "memory of its node",
            "one opener",
            "function level reset",
            "reset by the driver",
            "DMA outside a mapping",
            "huge pages",
            "conformance",
            "random programs",
            OF_GROUPS[0],
            OF_GROUPS[1],
            OF_GROUPS[2],
            OF_GROUPS[3],
            OF_GROUPS[4],
        ],
    },
    Boot {
        name: "many-cards",
        far: false,
        cards: &[
            Role::Pair,
            Role::Pair,
            Role::Faulty("late-completion"),
            Role::Faulty("reordered-completion"),
            Role::Faulty("partial-dma"),
            Role::Faulty("corrupt-data"),
            Role::Faulty("huge-count"),
            Role::Faulty("huge-trap"),
            Role::Faulty("huge-steps"),
            Role::Faulty("huge-report"),
            Role::Faulty("huge-length"),
            Role::Faulty("huge-list"),
            Role::Faulty("huge-identity"),
            Role::Faulty("change-after-completion"),
            Role::Faulty("duplicate-completion"),
            Role::Faulty("wrong-phase"),
            Role::Faulty("reset-in-the-middle"),
            Role::Faulty("fatal"),
            Role::Faulty("foreign-command-id"),
            Role::Faulty("wild-queue-head"),
            Role::Faulty("lost-completion"),
            Role::Faulty("stuck-doorbell"),
            Role::Faulty("write-outside"),
            // Last: of a card that is gone the kernel keeps what it has, its vectors among it.
            Role::Faulty("removal"),
        ],
        command: false,
        checks: &["two cards"],
    },
];

/// The program that serves cards and checks them.
const CHECKER: &str = "unlade-check-card";

/// Several times what a boot with its checks takes.
const BOOT: Duration = Duration::from_secs(240);

/// Longest that the step of `cargo xtask test` may take where the packages are kept.
const STEP: Duration = Duration::from_secs(180);

pub(crate) fn run(options: &Options) -> bool {
    match cards(options, None) {
        Outcome::Passed => true,
        Outcome::Failed => false,
        Outcome::NotRun(why) => {
            eprintln!("qemu: {why}");
            false
        }
    }
}

/// All boots, as a step of `cargo xtask test`.
pub(crate) fn step() -> Outcome {
    cards(&Options::default(), Some(STEP))
}

fn cards(options: &Options, limit: Option<Duration>) -> Outcome {
    if let Err(why) = packages::possible() {
        return Outcome::NotRun(why);
    }
    match prove(options, limit) {
        Ok(()) => Outcome::Passed,
        Err(why) => {
            println!("{why}");
            Outcome::Failed
        }
    }
}

fn prove(options: &Options, limit: Option<Duration>) -> Result<(), String> {
    let began = Instant::now();
    let packages = packages::folder()?;
    let (packages, time) = match Packages::kept(&packages) {
        Some(kept) => (kept, Time { began, limit }),
        // An archive may be slow.
        None => (Packages::fetch(&packages)?, Time { began, limit: None }),
    };
    let folder = crate::root().join("target/qemu");
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let checker = build(&folder, options.iommufd.is_some())?;
    let command = match options.iommufd {
        None => unlade::built(&folder)?,
        Some(_) => Vec::new(),
    };
    time.check()?;
    let logs = folder.join("logs");
    fs::create_dir_all(&logs).map_err(failed(&logs))?;
    // At once: a machine has one processor, and waits for its cards much of the time.
    let machine = Machine {
        packages: &packages,
        checker: &checker,
        command: &command,
        folder: &folder,
        logs: &logs,
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        let start = |boot| scope.spawn(move || start(boot, machine, options, time));
        println!("    booting machines with one card and with many");
        let boots = BOOTS.each_ref().map(|boot| (boot.name, start(boot)));
        let ended = boots.into_iter().map(|(name, boot)| {
            let ended = boot.join().unwrap_or_else(|panic| resume_unwind(panic));
            ended.map_err(|why| format!("{name}: {why}"))
        });
        ended
            .chain([time.check()])
            .filter_map(Result::err)
            .collect()
    });
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n")),
    }
}

/// The time that all of it takes, and may take.
#[derive(Clone, Copy, Debug)]
struct Time {
    began: Instant,
    limit: Option<Duration>,
}

impl Time {
    /// What is left of it for something that may take so long at most.
    fn left(self, most: Duration) -> Duration {
        let left = |limit: Duration| limit.saturating_sub(self.began.elapsed());
        self.limit.map_or(most, |limit| most.min(left(limit)))
    }

    fn check(self) -> Result<(), String> {
        let took = self.began.elapsed();
        match self.limit {
            Some(limit) if took >= limit => Err(format!(
                "the step has taken {} s with its packages there, builds among it; its limit is {} s",
                took.as_secs(),
                limit.as_secs()
            )),
            _ => Ok(()),
        }
    }
}

/// What machines are made of, and where they write.
#[derive(Clone, Copy)]
struct Machine<'a> {
    packages: &'a Packages,
    checker: &'a Path,
    /// The command's files.
    command: &'a [initramfs::File],
    folder: &'a Path,
    logs: &'a Path,
}

/// The checker, for both sides. Only the last crate is told to link the C library into it, so that
/// all below it is what the workspace's tests have built. It is copied, as the next build of the
/// workspace replaces it.
fn build(folder: &Path, iommufd: bool) -> Result<PathBuf, String> {
    let mut build = command("cargo", &["rustc", "--quiet", "--package", "unlade-tests"]);
    build.args(["--message-format=json-render-diagnostics", "--bin", CHECKER]);
    if iommufd {
        build.args(["--features", "iommufd"]);
    }
    build.args(["--", "-C", "target-feature=+crt-static"]);
    // Debug information would be most of what the machine has to read.
    build.args(["-C", "strip=debuginfo"]);
    println!("    {build:?}");
    let out = build.stderr(Stdio::inherit()).output();
    let out = out.map_err(|error| format!("{build:?}: {error}"))?;
    let built = built_binary(&String::from_utf8_lossy(&out.stdout));
    let built = match built.filter(|_| out.status.success()) {
        Some(built) => PathBuf::from(built),
        None => return Err(format!("{CHECKER} does not build")),
    };
    let kept = folder.join(CHECKER);
    fs::copy(&built, &kept).map_err(failed(&built))?;
    Ok(kept)
}

fn start(boot: &Boot, machine: Machine<'_>, options: &Options, time: Time) -> Result<(), String> {
    let Machine {
        packages,
        checker,
        command,
        folder,
        logs,
    } = machine;
    let image = folder.join(format!("initramfs-{}", boot.name));
    let mut programs = vec![(
        format!("bin/{CHECKER}"),
        initramfs::PROGRAM,
        initramfs::read(checker)?,
    )];
    if boot.command {
        programs.extend_from_slice(command);
    }
    initramfs::write(&image, packages, options.iommufd.is_none(), &programs)?;
    let sockets = tempfile::tempdir().map_err(|error| format!("a temporary folder: {error}"))?;
    let cards = boot.cards.iter().zip(1..).map(|(role, number)| {
        let socket = sockets.path().join(number.to_string());
        Card::serve(checker, *role, number, &socket)
    });
    let cards: Vec<Card> = cards.collect::<Result<_, _>>()?;
    let roles: Vec<&str> = boot.cards.iter().map(Role::name).collect();
    let variables = [
        format!("UNLADE_CARDS={}", roles.join(",")),
        format!("UNLADE_FUZZ_CASES={}", options.cases),
        format!("UNLADE_FUZZ_SEED={}", options.seed),
    ];
    let log = logs.join(format!("{}.log", boot.name));
    let kernel = match &options.iommufd {
        Some(own) => own.clone(),
        None => packages.kernel()?,
    };
    let ended = machine::boot(
        packages,
        &kernel,
        &image,
        &variables,
        &Cards {
            cards: &cards,
            far: boot.far,
        },
        &log,
        time.left(BOOT),
    );
    // What cards have seen is told even where the machine has failed.
    let seen: Vec<Result<(), String>> = cards.into_iter().map(Card::end).collect();
    let expected: Vec<&str> = boot
        .cards
        .iter()
        .filter_map(Role::check)
        .chain(boot.checks.iter().copied())
        .filter(|check| options.iommufd.is_none() || !OF_GROUPS.contains(check))
        .collect();
    let printed = ended.and_then(|()| {
        let text = fs::read(&log).map_err(failed(&log))?;
        verdict::judge(&String::from_utf8_lossy(&text), &expected)
    });
    let wrong: Vec<String> = [printed]
        .into_iter()
        .chain(seen)
        .filter_map(Result::err)
        .collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("{}; see {}", wrong.join("; "), log.display())),
    }
}

/// An error that names the file.
fn failed(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_takes_too_long_fails_and_names_its_limit() {
        let began = Instant::now();
        let time = |limit| Time { began, limit };
        let over = time(Some(Duration::ZERO));
        assert_eq!(over.left(BOOT), Duration::ZERO);
        let why = over.check().unwrap_err();
        assert!(why.contains("its limit is 0 s"), "{why}");
        let within = time(Some(STEP));
        assert!(within.left(BOOT) <= STEP && within.left(BOOT) > Duration::ZERO);
        assert_eq!(within.left(Duration::from_secs(1)), Duration::from_secs(1));
        assert_eq!((within.check(), time(None).check()), (Ok(()), Ok(())));
        assert_eq!(time(None).left(BOOT), BOOT);
    }
}
