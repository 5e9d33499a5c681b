//! Where settings come from, and what errors call them.

use std::fs::File;
use std::process::Stdio;

use crate::support::{Place, Ran};

const QUERY: [&str; 6] = ["run", "in.parquet", "--select", "n", "--format", "csv"];

fn place() -> Place {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    place
}

#[test]
fn an_error_names_what_the_setting_came_from() {
    let place = place();
    for (key, value, said) in [
        ("device", "tpu", "no device `tpu`"),
        ("semantics", "oracle", "spark-legacy"),
        ("overflow", "explode", "trap, wrap"),
        ("cast", "explode", "null, trap"),
        ("threads", "0", "is 1 to 1024"),
        ("batch-rows", "0", "is 1 to"),
        ("memory", "much", "512MB"),
        ("memory", "0", "1MB is the least"),
        ("memory", "1", "1MB is the least"),
    ] {
        let flag = format!("--{key}");
        let variable = format!("UNLADE_{}", key.replace('-', "_").to_uppercase());
        let mut flagged = QUERY.to_vec();
        flagged.extend([flag.as_str(), value]);
        let others = |message: &str, own: &str| {
            for other in [flag.as_str(), &variable, "unlade.toml"] {
                let expected = other == own;
                assert_eq!(message.contains(other), expected, "{own}: {message}");
            }
        };
        others(&place.run(&flagged).failure(2, &[value]), &flag);
        let ran = place.run_with(&[(&variable, value)], &QUERY);
        others(&ran.failure(2, &[value_said(value, said), said]), &variable);
        // A right flag wins over a wrong variable, but does not make it right.
        let toml = match value.parse::<u32>() {
            Ok(number) if key != "memory" => format!("{key} = {number}"),
            _ => format!("{key} = \"{value}\""),
        };
        std::fs::write(place.path("unlade.toml"), toml).unwrap();
        let message = place.run(&QUERY).failure(2, &[said, key]);
        others(&message, "unlade.toml");
        std::fs::remove_file(place.path("unlade.toml")).unwrap();
    }
    for (variable, value) in [
        ("UNLADE_THREADS", "many"),
        ("UNLADE_MMAP", "maybe"),
        ("UNLADE_NO_FALLBACK", ""),
        ("UNLADE_LOG", "unlade=loud"),
    ] {
        let ran = place.run_with(&[(variable, value)], &QUERY);
        ran.failure(2, &[variable]);
    }
}

/// Of a device that has to be opened, too.
#[test]
fn an_error_of_a_card_names_what_its_name_came_from() {
    let place = place();
    let card = "dpu:unix:absent.sock";
    let said = "cannot reach the card at unix:absent.sock";
    let flagged = [&QUERY[..], &["--device", card]].concat();
    let words = format!("--device: {said}");
    place.run(&flagged).failure(4, &[&words]);
    let words = format!("UNLADE_DEVICE: {said}");
    let ran = place.run_with(&[("UNLADE_DEVICE", card)], &QUERY);
    ran.failure(4, &[&words]);
    std::fs::write(place.path("unlade.toml"), format!("device = \"{card}\"")).unwrap();
    let words = format!("unlade.toml: device: {said}");
    place.run(&QUERY).failure(4, &[&words]);
}

/// A number is not repeated where its range is said.
fn value_said<'a>(value: &'a str, said: &'a str) -> &'a str {
    if value == "0" { said } else { value }
}

#[test]
fn a_settings_file_has_an_end() {
    let place = place();
    let mut words = QUERY.to_vec();
    words.extend(["--config", "/dev/zero"]);
    place.run(&words).failure(2, &["/dev/zero", "more than"]);
}

#[test]
fn what_has_the_name_of_the_settings_file_and_is_none_is_an_error() {
    for (make, said) in [
        (&["mkdir", "unlade.toml"][..], "it is a folder"),
        (&["mkfifo", "unlade.toml"], "it is a pipe"),
        (&["ln", "-s", "absent", "unlade.toml"], "No such file"),
    ] {
        let place = place();
        let mut command = std::process::Command::new(make[0]);
        let made = command.args(&make[1..]).current_dir(place.path(""));
        assert!(made.status().unwrap().success());
        place.run(&QUERY).failure(2, &["unlade.toml: ", said]);
        std::fs::write(place.path("other.toml"), "threads = 1").unwrap();
        let other = [&QUERY[..], &["--config", "other.toml"]].concat();
        place.run(&other).success();
    }
}

#[test]
fn an_empty_configuration_folder_is_none() {
    let place = place();
    let folder = place.path(".config/unlade");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("unlade.toml"), "device = \"tpu\"").unwrap();
    for variables in [
        &[][..],
        &[("XDG_CONFIG_HOME", "")],
        &[("XDG_CONFIG_HOME", "elsewhere")],
    ] {
        let ran = place.run_with(variables, &QUERY);
        ran.failure(2, &[".config/unlade/unlade.toml", "tpu"]);
    }
    let elsewhere = place.path("elsewhere");
    let variables = [("XDG_CONFIG_HOME", elsewhere.to_str().unwrap())];
    place.run_with(&variables, &QUERY).success();
}

#[test]
fn help_that_cannot_be_written_is_an_error() {
    let place = place();
    for words in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = place.command(words);
        let output = command.stdin(Stdio::null()).stdout(full).output().unwrap();
        Ran::of(output).failure(3, &["standard output"]);
    }
    let help = place.run(&["run", "--help"]).success();
    for line in [
        "[default: auto]",
        "[default: arrow]",
        "[default: false]",
        "65536]",
    ] {
        assert!(help.contains(line), "{line} is missing in: {help}");
    }
    assert!(help.contains("UNLADE_THREADS"), "{help}");
}

#[test]
fn a_report_goes_to_standard_output_or_is_refused() {
    let place = place();
    let query = ["run", "in.parquet", "-o", "out.csv"];
    let printed = place
        .run(&[&query[..], &["--receipts", "-"]].concat())
        .success();
    let document: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(document["totals"]["rows_in"], 10);
    place
        .run(&["run", "in.parquet", "--receipts", "-"])
        .failure(2, &["--receipts -", "the result", "./-"]);
    place
        .run(&[&query[..], &["--receipts", "-", "--trace", "-"]].concat())
        .failure(2, &["--trace -", "--receipts", "./-"]);
    assert_eq!(place.files(), ["in.parquet", "out.csv"]);
    place
        .run(&[&query[..], &["--receipts", "./-"]].concat())
        .success();
    assert_eq!(place.files(), ["-", "in.parquet", "out.csv"]);
}

#[test]
fn where_there_is_no_choice_of_devices_nothing_is_kept_and_that_is_said() {
    let place = place();
    let file = ["--calibration", "c.json"];
    let said = "--calibration c.json: nothing is kept: no batch had a choice of devices";
    for device in ["cpu", "sim", "auto"] {
        let ran = place.run(&[&QUERY[..], &file, &["--device", device]].concat());
        assert!(ran.err.contains(said), "{device}: {}", ran.err);
        ran.success();
        assert!(!place.path("c.json").exists());
    }
    let variable = [("UNLADE_CALIBRATION", "c.json")];
    let ran = place.run_with(&variable, &QUERY);
    let said = "UNLADE_CALIBRATION c.json: nothing is kept";
    assert!(ran.err.contains(said), "{}", ran.err);
    // Nobody asked for it, or for it to be said.
    for quiet in [
        &[][..],
        &["--calibration", "none"],
        &["-q", file[0], file[1]],
    ] {
        let ran = place.run(&[&QUERY[..], quiet].concat());
        assert!(!ran.err.contains("nothing is kept"), "{}", ran.err);
        ran.success();
    }
}
