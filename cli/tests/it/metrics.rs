//! `--metrics`: what docs/METRICS.md lists, as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

use unlade::{METRICS, Metric, MetricKind};

use crate::support::Place;

/// A text in Prometheus' form, taken apart by that form's rules.
struct Families {
    /// Help and type of each family.
    heads: BTreeMap<String, (String, String)>,
    /// Values of each series, by its name and labels.
    series: BTreeMap<String, f64>,
}

impl Families {
    fn read(text: &str) -> Self {
        let mut families = Families {
            heads: BTreeMap::new(),
            series: BTreeMap::new(),
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect(line);
                let head = families.heads.entry(name.to_owned()).or_default();
                assert!(head.0.is_empty(), "{name} is there twice");
                help.clone_into(&mut head.0);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect(line);
                let head = families.heads.entry(name.to_owned()).or_default();
                assert!(head.1.is_empty(), "{name} is there twice");
                kind.clone_into(&mut head.1);
            } else {
                let (series, value) = line.rsplit_once(' ').expect(line);
                let value = value.parse().expect(line);
                let before = families.series.insert(series.to_owned(), value);
                assert!(before.is_none(), "{series} is there twice");
            }
        }
        families
    }

    fn of_run(place: &Place, more: &[&str]) -> Self {
        let words = ["run", "in.parquet", "--where", "n < 50", "-o", "out.csv"];
        let report = ["--metrics", "metrics.txt"];
        place.run(&[&words[..], &report, more].concat()).success();
        Self::read(&std::fs::read_to_string(place.path("metrics.txt")).unwrap())
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        let known: Vec<&String> = self.series.keys().collect();
        *self
            .series
            .get(series)
            .unwrap_or_else(|| panic!("no {series} in {known:#?}"))
    }
}

fn metric(family: &str) -> &'static Metric {
    let found = METRICS.iter().find(|metric| metric.name == family);
    found.unwrap_or_else(|| panic!("{family} is not in the table"))
}

#[test]
fn every_family_is_that_of_the_table() {
    let place = Place::new();
    place.table("in.parquet", 0, 1000);
    for device in ["cpu", "sim", "sim-dpu"] {
        let families = Families::of_run(&place, &["--device", device]);
        for (name, (help, kind)) in &families.heads {
            let metric = metric(name);
            assert_eq!(help, metric.meaning, "{name}");
            assert_eq!(*kind, metric.kind.to_string(), "{name}");
        }
        for series in families.series.keys() {
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let endings = ["_bucket", "_sum", "_count"];
            let family = endings.iter().find_map(|ending| name.strip_suffix(ending));
            let metric = metric(match family {
                Some(family) if families.heads.contains_key(family) => family,
                _ => name,
            });
            let labels = labels.trim_end_matches('}').split(',');
            let names = labels.filter_map(|label| Some(label.split_once('=')?.0));
            let names: BTreeSet<&str> = names.filter(|name| *name != "le").collect();
            assert_eq!(names, metric.labels.iter().copied().collect(), "{series}");
        }
        // What nothing happened to has no series yet; gauges all have one.
        for gauge in METRICS.iter().filter(|it| it.kind == MetricKind::Gauge) {
            assert!(families.heads.contains_key(gauge.name), "{}", gauge.name);
        }
    }
}

#[test]
fn they_say_what_the_run_came_to() {
    let place = Place::new();
    place.table("in.parquet", 0, 1000);
    let rows = ["--batch-rows", "100"];
    let on_cpu = Families::of_run(&place, &[&rows[..], &["--device", "cpu"]].concat());
    assert_eq!(on_cpu.value("unlade_batches_total{device=\"cpu\"}"), 10.0);
    assert_eq!(on_cpu.value("unlade_rows_in_total{device=\"cpu\"}"), 1000.0);
    assert_eq!(on_cpu.value("unlade_rows_out_total{device=\"cpu\"}"), 50.0);
    assert_eq!(
        on_cpu.value("unlade_batch_seconds_count{device=\"cpu\"}"),
        10.0
    );
    assert!(on_cpu.value("unlade_batch_seconds_sum{device=\"cpu\"}") > 0.0);
    assert_eq!(on_cpu.value("unlade_sessions"), 1.0);
    assert!(on_cpu.value("unlade_pool_reserve_bytes") > 0.0);

    let on_card = Families::of_run(&place, &[&rows[..], &["--device", "sim-dpu"]].concat());
    let ready = "unlade_device_state{device=\"sim-dpu\",state=\"ready\"}";
    assert_eq!(on_card.value(ready), 1.0);
    let resting = "unlade_device_state{device=\"sim-dpu\",state=\"resting\"}";
    assert_eq!(on_card.value(resting), 0.0);
    let jobs = on_card.value("unlade_device_jobs_total{device=\"sim-dpu\"}");
    assert!(jobs >= 1.0);
    let of_jobs = |name: &str| on_card.value(&format!("unlade_device_{name}"));
    assert_eq!(of_jobs("wait_seconds_count{device=\"sim-dpu\"}"), jobs);
    assert_eq!(
        of_jobs("busy_seconds_count{device=\"sim-dpu\",clock=\"virtual\"}"),
        jobs
    );
    assert!(of_jobs("busy_seconds_sum{device=\"sim-dpu\",clock=\"virtual\"}") > 0.0);
    assert!(on_card.value("unlade_compile_seconds_count{device=\"sim-dpu\"}") >= 1.0);
}

#[test]
fn they_are_a_report_like_the_others() {
    let place = Place::new();
    place.table("in.parquet", 0, 100);
    let out = ["run", "in.parquet", "-o", "out.csv", "--metrics"];
    let printed = place.run(&[&out[..], &["-"]].concat()).success();
    assert!(
        printed.contains("unlade_rows_in_total{device=\"cpu\"} 100\n"),
        "{printed}"
    );
    let names: Vec<&str> = printed
        .lines()
        .filter_map(|it| it.strip_prefix("# TYPE "))
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    place
        .run(&["run", "in.parquet", "--metrics", "-"])
        .failure(2, &["--metrics - would mix with the result"]);
    place.run(&[&out[..], &["in.parquet"]].concat()).failure(
        2,
        &["--metrics in.parquet would overwrite the input in.parquet"],
    );
    place.run(&[&out[..], &["no/where.txt"]].concat()).failure(
        3,
        &["no/where.txt: --metrics names no file in an existing folder"],
    );
    // Of a run that failed there are none.
    place
        .run(&[
            "run",
            "in.parquet",
            "--select",
            "n / 0 as m",
            "-o",
            "m.csv",
            "--metrics",
            "m.txt",
        ])
        .failure(1, &["divides by zero"]);
    assert!(!place.path("m.txt").exists());
}

#[cfg(not(feature = "prometheus"))]
#[test]
fn a_build_without_a_server_says_how_to_get_one() {
    let place = Place::new();
    place.table("in.parquet", 0, 100);
    place
        .run(&["run", "in.parquet", "--metrics-listen", "127.0.0.1:9464"])
        .failure(
            2,
            &[
                "without feature `prometheus`",
                "--features prometheus",
                "--metrics FILE",
            ],
        );
    let help = place.run(&["run", "--help"]).success();
    assert!(
        help.contains("--metrics <FILE>") && !help.contains("--metrics-listen"),
        "{help}"
    );
}

#[cfg(feature = "prometheus")]
#[test]
fn they_are_served_while_the_command_runs() {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    let place = Place::new();
    place.table("in.arrows", 0, 1000);
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let address = free.to_string();
    let mut command = place.command(&["run", "-", "-o", "out.csv", "--metrics-listen", &address]);
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = std::fs::read(place.path("in.arrows")).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // All but the end, so that it waits for more.
    stdin.write_all(&input[..input.len() - 8]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let rows = "unlade_rows_in_total{device=\"cpu\"} 1000\n";
    let state = "unlade_device_state{device=\"cpu\",state=\"ready\"} 1\n";
    loop {
        let mut said = String::new();
        if let Ok(mut stream) = TcpStream::connect(free) {
            write!(
                stream,
                "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            stream.read_to_string(&mut said).unwrap();
        }
        if said.contains(rows) && said.contains(state) {
            assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
            break;
        }
        assert!(Instant::now() < deadline, "{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The same address cannot be had twice, and the other keeps it.
    let taken = place.run(&["run", "in.arrows", "--metrics-listen", &address]);
    taken.failure(
        4,
        &[
            "--metrics-listen",
            &address,
            "name another address and port",
        ],
    );
    let none = place.run(&["run", "in.arrows", "--metrics-listen", "127.0.0.1:0"]);
    none.failure(4, &["port 0 is none that others could know"]);
    stdin.write_all(&input[input.len() - 8..]).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert!(
        TcpStream::connect(free).is_err(),
        "nobody is served any more"
    );
}
