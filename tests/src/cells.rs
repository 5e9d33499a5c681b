//! What there is to cover: an operation, its types and its mode, as they stand in a typed tree.

use std::collections::BTreeMap;
use std::fmt;

use unlade_expr::{ArithmeticOp, IsTest, Node, Typed, cast_row};
use unlade_program::FloatOrder;

/// An operation, its types and its mode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeCell(String);

impl TreeCell {
    /// The cell of a node, `None` for columns and literals.
    pub fn of(tree: &Typed) -> Option<TreeCell> {
        let data_type = &tree.data_type;
        let float = data_type.is_floating();
        Some(TreeCell(match &tree.node {
            Node::Column(_) | Node::Literal(_) => return None,
            Node::Decode(_) => format!("decode {data_type}"),
            Node::Arithmetic {
                op,
                overflow,
                zero,
                float_zero,
                ..
            } => {
                let name = arithmetic_name(*op);
                match op {
                    ArithmeticOp::Div | ArithmeticOp::Rem if float => {
                        format!("{name} {data_type}, zero {float_zero:?}")
                    }
                    ArithmeticOp::Div => {
                        format!("{name} {data_type}, overflow {overflow}, zero {zero}")
                    }
                    ArithmeticOp::Rem => format!("{name} {data_type}, zero {zero}"),
                    _ if float => format!("{name} {data_type}"),
                    _ => format!("{name} {data_type}, overflow {overflow}"),
                }
            }
            Node::Negate { .. } if float => format!("negate {data_type}"),
            Node::Negate { overflow, .. } => format!("negate {data_type}, overflow {overflow}"),
            Node::Abs { .. } if float => format!("abs {data_type}"),
            Node::Abs { overflow, .. } => format!("abs {data_type}, overflow {overflow}"),
            Node::Cast {
                on_error,
                dialect,
                arg,
            } => {
                let from = &arg.data_type;
                let fails = cast_row(from, data_type, *dialect)
                    .is_some_and(|row| row.may_fail(from, data_type));
                let mode = if fails {
                    format!(", {on_error}")
                } else {
                    String::new()
                };
                format!("cast {from} to {data_type}, {dialect:?}{mode}")
            }
            Node::Compare { op, order, lhs, .. } => {
                let name = format!("{op:?}").to_lowercase();
                format!("{name} {}{}", lhs.data_type, order_name(lhs, *order))
            }
            Node::Distinct {
                negated,
                order,
                lhs,
                ..
            } => {
                let not = if *negated { "not " } else { "" };
                format!("{not}distinct {}{}", lhs.data_type, order_name(lhs, *order))
            }
            Node::In { order, arg, .. } => {
                format!("in {}{}", arg.data_type, order_name(arg, *order))
            }
            Node::And(_) => "and".to_owned(),
            Node::Or(_) => "or".to_owned(),
            Node::Not(_) => "not".to_owned(),
            Node::Is { test, negated, arg } => {
                let not = if *negated { "not " } else { "" };
                match test {
                    IsTest::Null => format!("is {not}null {}", arg.data_type),
                    IsTest::True => format!("is {not}true"),
                    IsTest::False => format!("is {not}false"),
                }
            }
            Node::Case { .. } => format!("case {data_type}"),
            Node::Coalesce(_) => format!("coalesce {data_type}"),
            Node::Try(_) => format!("try {data_type}"),
        }))
    }

    /// Calls `visit` with the cell of every node of a tree.
    pub fn for_each(tree: &Typed, visit: &mut impl FnMut(TreeCell)) {
        if let Some(cell) = TreeCell::of(tree) {
            visit(cell);
        }
        tree.for_each_child(|child| TreeCell::for_each(child, visit));
    }

    /// The operation alone, for a table with few rows.
    pub fn operation(&self) -> &str {
        let end = self
            .0
            .find(|c: char| c.is_uppercase())
            .unwrap_or(self.0.len());
        self.0[..end].trim_end()
    }
}

impl fmt::Display for TreeCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How often each cell was run.
#[derive(Debug, Default)]
pub struct Coverage {
    hits: BTreeMap<TreeCell, Hits>,
}

/// How often a cell was run, by what it was compared with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hits {
    /// On batches without a trap, against the oracle.
    pub oracle: u32,
    /// On batches without a trap, against arrow-rs as well.
    pub arrow_rs: u32,
    /// On batches that trap.
    pub trapping: u32,
}

impl Coverage {
    /// Counters of zero for these cells.
    pub fn of(cells: impl IntoIterator<Item = TreeCell>) -> Self {
        let hits = cells
            .into_iter()
            .map(|cell| (cell, Hits::default()))
            .collect();
        Coverage { hits }
    }

    /// Counts the cells of a tree.
    pub fn count(&mut self, tree: &Typed, count: impl Fn(&mut Hits)) {
        TreeCell::for_each(tree, &mut |cell| count(self.hits.entry(cell).or_default()));
    }

    /// Adds what another counted.
    pub fn add(&mut self, other: Coverage) {
        for (cell, more) in other.hits {
            let hits = self.hits.entry(cell).or_default();
            hits.oracle += more.oracle;
            hits.arrow_rs += more.arrow_rs;
            hits.trapping += more.trapping;
        }
    }

    /// The cells run on fewer than `least` batches without a trap.
    pub fn below(&self, least: u32) -> Vec<String> {
        let below = self.hits.iter().filter(|(_, hits)| hits.oracle < least);
        below
            .map(|(cell, hits)| format!("{cell}: {}", hits.oracle))
            .collect()
    }

    /// A cell per line with its counts.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.hits.iter().map(|(cell, hits)| {
            let Hits {
                oracle,
                arrow_rs,
                trapping,
            } = hits;
            format!("{cell}: {oracle} batches, {arrow_rs} against arrow-rs, {trapping} trapping")
        })
    }
}

impl fmt::Display for Coverage {
    /// One line per operation: its cells, and the least and total counts over them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[derive(Default)]
        struct Row {
            cells: u32,
            least: Option<u32>,
            total: Hits,
        }
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        for (cell, hits) in &self.hits {
            let row = rows.entry(cell.operation()).or_default();
            row.cells += 1;
            row.least = Some(
                row.least
                    .map_or(hits.oracle, |least| least.min(hits.oracle)),
            );
            row.total.oracle += hits.oracle;
            row.total.arrow_rs += hits.arrow_rs;
            row.total.trapping += hits.trapping;
        }
        writeln!(
            f,
            "{:<16}{:>7}{:>12}{:>12}{:>12}{:>12}",
            "operation", "cells", "least hits", "hits", "arrow-rs", "trapping"
        )?;
        for (operation, row) in rows {
            let Row {
                cells,
                least,
                total,
            } = row;
            let least = least.unwrap_or(0);
            let Hits {
                oracle,
                arrow_rs,
                trapping,
            } = total;
            writeln!(
                f,
                "{operation:<16}{cells:>7}{least:>12}{oracle:>12}{arrow_rs:>12}{trapping:>12}"
            )?;
        }
        Ok(())
    }
}

fn arithmetic_name(op: ArithmeticOp) -> &'static str {
    match op {
        ArithmeticOp::Add => "add",
        ArithmeticOp::Sub => "sub",
        ArithmeticOp::Mul => "mul",
        ArithmeticOp::Div => "div",
        ArithmeticOp::Rem => "rem",
    }
}

/// The order in which floats compare; other types have one only.
fn order_name(operand: &Typed, order: FloatOrder) -> &'static str {
    match order {
        _ if !operand.data_type.is_floating() => "",
        FloatOrder::Ieee => ", ieee",
        FloatOrder::Total => ", total order",
        FloatOrder::Spark => ", spark order",
    }
}
