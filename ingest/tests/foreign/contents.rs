//! What `contents.json` tells of the files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::Value;

/// One file and what it holds.
#[derive(Clone)]
pub(crate) struct Foreign {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The values of its columns.
    pub(crate) columns: BTreeMap<String, Vec<Value>>,
    pub(crate) rows: usize,
}

static CONTENTS: LazyLock<Value> = LazyLock::new(|| {
    let text = std::fs::read_to_string(folder().join("contents.json")).unwrap();
    serde_json::from_str(&text).unwrap()
});

/// The folder of the files.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Every file, by name.
pub(crate) fn files() -> Vec<Foreign> {
    let listed = CONTENTS["files"].as_object().unwrap();
    listed.keys().map(|name| file(name)).collect()
}

/// One file.
pub(crate) fn file(name: &str) -> Foreign {
    let about = &CONTENTS["files"][name];
    let rows = usize::try_from(about["rows"].as_u64().expect("a listed file")).unwrap();
    let table = CONTENTS["tables"][about["table"].as_str().unwrap()]
        .as_object()
        .unwrap();
    let values = |values: &Value| values.as_array().unwrap()[..rows].to_vec();
    Foreign {
        name: name.to_owned(),
        path: folder().join(name),
        columns: table
            .iter()
            .map(|(column, of_column)| (column.clone(), values(of_column)))
            .collect(),
        rows,
    }
}
