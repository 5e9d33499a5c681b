//! Queries as deep, as wide and as long as the check admits.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use unlade_expr::limits::{MAX_DEPTH, MAX_IN_LIST, MAX_NODES};
use unlade_expr::{
    Expr, Lowered, Payload, Query, Semantics, check, coalesce, col, lit, lower, when,
};

fn lowered(predicate: Expr) -> Result<Lowered, unlade_expr::ExprError> {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Int64));
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("d", dictionary, true),
    ]));
    let checked = check(&Query::mask(predicate), &schema, &Semantics::arrow())?;
    lower(&checked, Payload::Fused)
}

#[test]
fn the_deepest_trees_are_lowered() {
    let levels = MAX_DEPTH as usize / 2 - 8;
    for column in ["a", "d"] {
        let nested = |step: fn(Expr) -> Expr| {
            let tree = (0..levels).fold(col(column), |tree, _| step(tree));
            lowered(tree.gt(lit(1i64))).expect("not too deep");
        };
        nested(|tree| -tree);
        nested(|tree| tree + lit(1i64));
        nested(|tree| coalesce([tree, lit(1i64)]));
        nested(|tree| when(tree.is_null()).then(lit(1i64)).otherwise(lit(2i64)));
    }
    let alternating = (0..levels / 2).fold(col("a").gt(lit(1i64)), |tree, level| {
        let other = (lit(10i64) / col("a")).gt(lit(level as i64));
        tree.and(other.clone()).or(other.clone().not())
    });
    lowered(alternating).expect("not too deep");
}

#[test]
fn the_widest_trees_are_lowered() {
    // Every operand but the first can trap, each under what those before it leave open.
    let operands = MAX_NODES as i64 / 10;
    let wide = (1..operands).fold(col("a").gt(lit(0i64)), |tree, level| {
        tree.and((lit(level) / col("a")).gt(lit(1i64)))
    });
    let lowered = lowered(wide).expect("not too wide");
    assert!(lowered.program.insts.len() > operands as usize);
}

#[test]
fn the_longest_lists_are_sets() {
    let list = |length: usize| (0..length as i64).map(lit);
    let lowered_set = lowered(col("a").in_list(list(MAX_IN_LIST))).expect("a set");
    assert_eq!(lowered_set.sets[0].len(), 8 * MAX_IN_LIST);
    assert!(lowered_set.program.insts.len() < 8);

    let floats = (0..MAX_IN_LIST).map(|value| lit(value as f64));
    let lowered_set = lowered(col("f").in_list(floats)).expect("a set");
    assert_eq!(lowered_set.sets[0].len(), 8 * MAX_IN_LIST);
    assert!(lowered_set.params.is_empty());
}
