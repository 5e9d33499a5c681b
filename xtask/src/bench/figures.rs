//! Medians, by round.

use std::collections::BTreeMap;
use std::path::Path;

use super::targets::Verdict;

/// Figures of interleaved rounds.
#[derive(Debug, Default)]
pub(crate) struct Rounds(Vec<BTreeMap<String, f64>>);

/// A ratio over the rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Rounds {
    /// Adds a round: figures by `workload/who`, nanoseconds where the name says nothing else.
    pub(crate) fn push(&mut self, figures: Vec<(String, f64)>) {
        self.0.push(figures.into_iter().collect());
    }

    /// In each round the least time among these names, over that among those.
    pub(crate) fn ratio(
        &self,
        above: impl Fn(&str) -> bool,
        below: impl Fn(&str) -> bool,
    ) -> Option<Ratio> {
        let least = |round: &BTreeMap<String, f64>, wanted: &dyn Fn(&str) -> bool| {
            round
                .iter()
                .filter(|(name, _)| wanted(name))
                .map(|(_, nanos)| *nanos)
                .min_by(f64::total_cmp)
        };
        let ratios: Vec<f64> = self
            .0
            .iter()
            .filter_map(|round| Some(least(round, &above)? / least(round, &below)?))
            .collect();
        Ratio::of(ratios)
    }

    /// A difference in nanoseconds, likewise.
    pub(crate) fn difference(&self, above: &str, below: &str) -> Option<Ratio> {
        let differences: Vec<f64> = self
            .0
            .iter()
            .filter_map(|round| Some(round.get(above)? - round.get(below)?))
            .collect();
        Ratio::of(differences)
    }

    /// A figure itself, over the rounds.
    pub(crate) fn figure(&self, name: &str) -> Option<Ratio> {
        Ratio::of(
            self.0
                .iter()
                .filter_map(|round| round.get(name).copied())
                .collect(),
        )
    }

    /// Every name that was measured.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0
            .first()
            .into_iter()
            .flat_map(|round| round.keys().map(String::as_str))
    }

    /// All of it.
    pub(crate) fn to_json(&self, verdicts: &[Verdict]) -> String {
        let verdicts: Vec<_> = verdicts
            .iter()
            .map(|verdict| {
                serde_json::json!({
                    "what": verdict.what,
                    "median": verdict.seen.map(|seen| seen.median),
                    "least": verdict.seen.map(|seen| seen.least),
                    "greatest": verdict.seen.map(|seen| seen.greatest),
                    "target": verdict.target.to_string(),
                    "met": verdict.is_met(),
                })
            })
            .collect();
        let document = serde_json::json!({ "version": 1, "figures": self.0, "verdicts": verdicts });
        format!("{document:#}\n")
    }
}

impl Ratio {
    fn of(mut values: Vec<f64>) -> Option<Ratio> {
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        Some(Ratio {
            median: median(values),
            least,
            greatest,
        })
    }
}

/// The middle value; the mean of the middle two of an even number.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}

/// Criterion's medians below its home, nanoseconds by the benchmark's path, `workload/who`, and what
/// benchmarks have noted beside it: lines of a figure and its name.
pub(crate) fn read(home: &Path) -> Result<Vec<(String, f64)>, String> {
    let mut figures = noted(&home.with_extension("figures"))?;
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        let fault =
            |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let estimates = folder.join("new/estimates.json");
        if let Ok(text) = std::fs::read_to_string(&estimates) {
            let document: serde_json::Value =
                serde_json::from_str(&text).map_err(|error| fault(&estimates, &error))?;
            let nanos = document["median"]["point_estimate"]
                .as_f64()
                .ok_or_else(|| fault(&estimates, &"no median"))?;
            let name = folder.strip_prefix(home).expect("it was found below it");
            figures.push((name.to_string_lossy().into_owned(), nanos));
            continue;
        }
        let entries = std::fs::read_dir(&folder).map_err(|error| fault(&folder, &error))?;
        let below = entries.filter_map(Result::ok).map(|entry| entry.path());
        folders.extend(below.filter(|path| path.is_dir()));
    }
    Ok(figures)
}

fn noted(path: &Path) -> Result<Vec<(String, f64)>, String> {
    // Where none of those benchmarks ran there is none.
    let Ok(text) = std::fs::read_to_string(path) else {
        return Ok(Vec::new());
    };
    let figure = |line: &str| {
        let (value, name) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    let figures = text.lines().map(|line| {
        let figure = figure(line);
        figure.ok_or_else(|| format!("{}: no figure: {line}", path.display()))
    });
    figures.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noted_figures_are_read_with_names_that_have_spaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("round-0.figures");
        assert_eq!(noted(&path), Ok(Vec::new()));
        std::fs::write(&path, "0.5 a name/of two\n12 b\n").unwrap();
        let wanted = [("a name/of two", 0.5), ("b", 12.0)];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(noted(&path), Ok(wanted.to_vec()));
        std::fs::write(&path, "fast b\n").unwrap();
        assert!(noted(&path).unwrap_err().contains("fast b"));
    }
}
