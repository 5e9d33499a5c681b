//! docs/SUBSTRAIT.md says what is so: its tables of functions and types are those of the code.
//! `UPDATE_GOLDEN=1` writes them into the page.

use std::fs;
use std::path::Path;

use unlade_expr::type_name;
use unlade_substrait::{FUNCTIONS, USER_DEFINED};

#[test]
fn the_tables_are_those_in_force() {
    let mut functions =
        String::from("| function | extension | read as | options |\n|---|---|---|---|\n");
    for function in FUNCTIONS {
        let (name, text) = (function.name, function.text);
        let files = match function.files {
            [] => "none: DataFusion's".to_owned(),
            files => files.join(", "),
        };
        let options = function.options.names().join(", ");
        functions += &format!("| `{name}` | {files} | `{text}` | {options} |\n");
    }
    let mut types = String::from("| name | type |\n|---|---|\n");
    for (name, data_type) in USER_DEFINED {
        types += &format!("| `{name}` | {} |\n", type_name(&data_type));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/SUBSTRAIT.md");
    let mut text = fs::read_to_string(&path).expect("the page is readable");
    for (name, wanted) in [("functions", functions), ("types", types)] {
        let (start, end) = (
            format!("<!-- {name} -->\n"),
            format!("<!-- end of {name} -->"),
        );
        let from = text.find(&start).expect("the page has a place for it") + start.len();
        let to = from + text[from..].find(&end).expect("the place has an end");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            text.replace_range(from..to, &wanted);
        } else {
            assert!(
                text[from..to] == *wanted,
                "the page's {name} differ; they would be\n{wanted}"
            );
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).expect("the page is writable");
    }
}
