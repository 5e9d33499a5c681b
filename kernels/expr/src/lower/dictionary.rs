//! Dictionary-encoded columns: what depends on nothing else is evaluated once per dictionary.
//!
//! The largest subtrees that read one dictionary-encoded column and literals become outputs of a
//! [`DictionaryStage`]: a program over the dictionary's values. The main program looks the results
//! up by key. What would trap in the stage is a mask there, looked up as well, and traps only on
//! rows of the scope that refer to such a value. What the subtree makes of a null is folded from
//! its literals, so that no null need be in the dictionary.

use arrow_schema::DataType;
use unlade_program::{Column, Inst, Output, TrapCode, Ty, Val};

use super::builder::{Builder, FALSE, TRUE};
use super::logic::{Scope, Truth};
use super::sweep::sweep;
use super::{Failure, Failures, Lowering, Value, ty_of, unsupported};
use crate::error::ExprError;
use crate::lowered::{DictionaryStage, Table};
use crate::physical::physical_type;
use crate::typed::{Checked, Node, Typed};

/// What reading a dictionary-encoded column means at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Looking its values up by key.
    Keys,
    /// Loading its values: inside of a stage.
    Values,
    /// A null: what a subtree makes of a null key.
    Null,
}

/// What a subtree reads beside literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    Nothing,
    Dictionary(usize),
    More,
}

/// A stage on its way to a program.
#[derive(Debug)]
pub(super) struct Stage<'q> {
    column: usize,
    lowering: Lowering<'q>,
    outputs: Vec<Output>,
}

/// What each node reads, by ordinal; empty where no node reads a dictionary.
pub(super) fn analyse(checked: &Checked) -> Vec<Reads> {
    let mut reads = Vec::new();
    if checked.trees().any(decodes) {
        for tree in checked.trees() {
            analyse_tree(tree, &mut reads);
        }
    }
    reads
}

fn decodes(tree: &Typed) -> bool {
    let mut found = matches!(tree.node, Node::Decode(_));
    tree.for_each_child(|child| found = found || decodes(child));
    found
}

fn analyse_tree(tree: &Typed, reads: &mut Vec<Reads>) -> Reads {
    let mut all = Reads::Nothing;
    tree.for_each_child(|child| {
        all = match (all, analyse_tree(child, reads)) {
            (Reads::Nothing, other) | (other, Reads::Nothing) => other,
            (one, other) if one == other => one,
            _ => Reads::More,
        };
    });
    match &tree.node {
        Node::Column(_) => all = Reads::More,
        Node::Decode(arg) => {
            if let Node::Column(column) = arg.node {
                all = Reads::Dictionary(column);
            }
        }
        _ => {}
    }
    let at = tree.ordinal as usize;
    if reads.len() <= at {
        reads.resize(at + 1, Reads::More);
    }
    reads[at] = all;
    all
}

impl<'q> Lowering<'q> {
    /// The dictionary-encoded column that a subtree is evaluated over, if it is worth a stage.
    pub(super) fn staged(&self, tree: &Typed) -> Option<usize> {
        let reads = self.reads.get(tree.ordinal as usize)?;
        match (reads, &tree.node) {
            // What `TRY` catches is caught around the lookup.
            (_, Node::Decode(_) | Node::Column(_) | Node::Try(_)) => None,
            (Reads::Dictionary(column), _) if self.reading == Reading::Keys => Some(*column),
            _ => None,
        }
    }

    /// The values of a dictionary-encoded column.
    pub(super) fn decode(
        &mut self,
        tree: &Typed,
        arg: &Typed,
        scope: &Scope,
    ) -> Result<Value, ExprError> {
        let Node::Column(column) = arg.node else {
            return Err(unsupported(tree, "a dictionary that is no column"));
        };
        let ty = ty_of(tree)?;
        match self.reading {
            Reading::Null => Ok(self.null(ty)),
            Reading::Values => Ok(self.dictionary_values(column, ty)),
            Reading::Keys => {
                let keys = self.keys(tree, column, ty, tree.ordinal, scope)?;
                let values = Table::DictionaryValues { column };
                let validity = Table::DictionaryValidity { column };
                let known = self.lookup(Ty::Mask, validity, keys.value);
                Ok(Value {
                    value: self.lookup(ty, values, keys.value),
                    valid: self.builder.and(keys.valid, known),
                })
            }
        }
    }

    /// A subtree over one dictionary-encoded column, evaluated over the dictionary.
    pub(super) fn stage_value(
        &mut self,
        tree: &Typed,
        column: usize,
        scope: &Scope,
    ) -> Result<Value, ExprError> {
        let ty = ty_of(tree)?;
        if ty == Ty::Mask {
            let truth = self.stage_truth(tree, column, scope)?;
            return Ok(truth.value(&mut self.builder));
        }
        let keys = self.staged_keys(tree, column, scope)?;
        let stage = self.stage_of(column);
        let lowering = &mut self.stages[stage].lowering;
        let result = lowering.value(tree, &Scope::everywhere())?;
        self.stage_failures(stage, keys, scope);
        let looked_up = self.stage_result(stage, ty, result, keys.value);
        if keys.valid == TRUE {
            return Ok(looked_up);
        }
        let of_null = self.of_null(keys, scope, |this, scope| this.value(tree, scope))?;
        Ok(self.choose(ty, keys.valid, looked_up, of_null))
    }

    /// The same for a boolean. One that may be null is looked up as the two masks of its truth, of
    /// which a filter needs one only.
    pub(super) fn stage_truth(
        &mut self,
        tree: &Typed,
        column: usize,
        scope: &Scope,
    ) -> Result<Truth, ExprError> {
        let keys = self.staged_keys(tree, column, scope)?;
        let stage = self.stage_of(column);
        let lowering = &mut self.stages[stage].lowering;
        let truth = lowering.truth(tree, &Scope::everywhere())?;
        let result = truth.value(&mut lowering.builder);
        let is_true = truth.is_true(&mut lowering.builder);
        let is_false = truth.is_false(&mut lowering.builder);
        self.stage_failures(stage, keys, scope);
        let of_null = match keys.valid {
            TRUE => Truth::Known(self.null(Ty::Mask)),
            _ => self.of_null(keys, scope, |this, scope| this.truth(tree, scope))?,
        };
        if result.valid == TRUE {
            let looked_up = self.stage_result(stage, Ty::Mask, result, keys.value);
            let of_null = of_null.value(&mut self.builder);
            let value = self.choose(Ty::Mask, keys.valid, looked_up, of_null);
            return Ok(Truth::Known(value));
        }
        let of_null = (
            of_null.is_true(&mut self.builder),
            of_null.is_false(&mut self.builder),
        );
        let mut side = |mask, of_null| {
            let looked_up = self.stage_mask(stage, mask, keys.value);
            self.builder
                .select(Ty::Mask, keys.valid, looked_up, of_null)
        };
        Ok(Truth::Split {
            is_true: side(is_true, of_null.0),
            is_false: side(is_false, of_null.1),
        })
    }

    /// What a subtree makes of a null, for the rows whose key is one.
    fn of_null<T>(
        &mut self,
        keys: Value,
        scope: &Scope,
        lower: impl FnOnce(&mut Self, &Scope) -> Result<T, ExprError>,
    ) -> Result<T, ExprError> {
        let no_key = self.builder.not(keys.valid);
        let outer = std::mem::replace(&mut self.reading, Reading::Null);
        let result = lower(self, &scope.only(no_key));
        self.reading = outer;
        result
    }

    /// Lets rows fail whose value fails in the subtree that was lowered last.
    fn stage_failures(&mut self, stage: usize, keys: Value, scope: &Scope) {
        let failures = match &mut self.stages[stage].lowering.failures {
            Failures::Collect(failures) => std::mem::take(failures),
            Failures::Trap | Failures::Null(_) => unreachable!("a stage collects its failures"),
        };
        for (failure, fails) in failures {
            let fails = self.stage_mask(stage, fails, keys.value);
            self.fail(fails, keys.valid, failure, scope);
        }
    }

    /// The keys of the column that a subtree reads.
    fn staged_keys(
        &mut self,
        tree: &Typed,
        column: usize,
        scope: &Scope,
    ) -> Result<Value, ExprError> {
        let decode = first_decode(tree).unwrap_or(tree);
        self.keys(tree, column, ty_of(decode)?, decode.ordinal, scope)
    }

    /// The keys of a column, which trap where they point outside of its dictionary.
    fn keys(
        &mut self,
        tree: &Typed,
        column: usize,
        values: Ty,
        ordinal: u32,
        scope: &Scope,
    ) -> Result<Value, ExprError> {
        let field = self.input.field(column);
        let ty = match field.data_type() {
            DataType::Dictionary(keys, _) => physical_type(keys),
            _ => None,
        };
        let ty = ty.ok_or_else(|| unsupported(tree, "keys of a column without a dictionary"))?;
        let keys = self.column(column, ty);
        let table = match values {
            // The length of a mask is known in whole bytes only.
            Ty::Mask => self.booleans_as_bytes(column),
            ty => self.builder.table(ty, Table::DictionaryValues { column }),
        };
        let index = keys.value;
        let inside = self.builder.push(Inst::InBounds { table, index });
        let outside = self.builder.not(inside);
        let failure = Failure {
            code: TrapCode::InvalidKey,
            ordinal,
        };
        self.fail(outside, keys.valid, failure, scope);
        Ok(keys)
    }

    /// The values of a dictionary as the column of a stage. That a field is never null is said of
    /// its keys, and Arrow's constructors check no more: a dictionary may have nulls all the same.
    fn dictionary_values(&mut self, column: usize, ty: Ty) -> Value {
        let as_column = Column { ty, nullable: true };
        Value {
            value: self.builder.load(column, as_column),
            valid: self.builder.validity(column, as_column),
        }
    }

    /// A table of the main program with a byte per value of a dictionary of booleans.
    fn booleans_as_bytes(&mut self, column: usize) -> u16 {
        let stage = self.stage_of(column);
        let lowering = &mut self.stages[stage].lowering;
        let values = lowering.dictionary_values(column, Ty::Mask);
        let bytes = lowering.wrapped(values.value, Ty::Mask, Ty::U8);
        let output = self.stage_output(stage, bytes, TRUE);
        self.builder
            .table(Ty::U8, Table::StageValues { stage, output })
    }

    /// A result of a stage by key. What is the same for every value needs no table.
    fn stage_result(&mut self, stage: usize, ty: Ty, result: Value, key: Val) -> Value {
        let Value { value, valid } = result;
        let known = self.stages[stage].lowering.builder.known(value);
        if matches!(valid, TRUE | FALSE)
            && let Some(imm) = known
        {
            let value = self.builder.literal(imm);
            return Value { value, valid };
        }
        let output = self.stage_output(stage, value, valid);
        let value = self.lookup(ty, Table::StageValues { stage, output }, key);
        let valid = match valid {
            TRUE | FALSE => valid,
            _ => self.lookup(Ty::Mask, Table::StageValidity { stage, output }, key),
        };
        Value { value, valid }
    }

    /// A mask of a stage by key.
    fn stage_mask(&mut self, stage: usize, mask: Val, key: Val) -> Val {
        let result = Value {
            value: mask,
            valid: TRUE,
        };
        self.stage_result(stage, Ty::Mask, result, key).value
    }

    fn lookup(&mut self, ty: Ty, table: Table, index: Val) -> Val {
        let table = self.builder.table(ty, table);
        self.builder.push(Inst::Lookup { table, index })
    }

    /// The stage of a column, made when it is first needed.
    fn stage_of(&mut self, column: usize) -> usize {
        if let Some(stage) = self.stages.iter().position(|stage| stage.column == column) {
            return stage;
        }
        self.stages.push(Stage {
            column,
            lowering: Lowering {
                input: self.input,
                builder: Builder::new(),
                failures: Failures::Collect(Vec::new()),
                reads: Vec::new(),
                reading: Reading::Values,
                stages: Vec::new(),
            },
            outputs: Vec::new(),
        });
        self.stages.len() - 1
    }

    fn stage_output(&mut self, stage: usize, value: Val, valid: Val) -> usize {
        let outputs = &mut self.stages[stage].outputs;
        let output = Output {
            value,
            valid: Some(valid),
        };
        if let Some(known) = outputs.iter().position(|known| *known == output) {
            return known;
        }
        outputs.push(output);
        outputs.len() - 1
    }
}

/// The finished programs of stages, with the outputs that tables are made of and no others.
///
/// # Errors
/// Where one exceeds the limits of a program.
pub(super) fn finish(
    stages: Vec<Stage>,
    tables: &mut [Table],
) -> Result<Vec<DictionaryStage>, ExprError> {
    let mut finished = Vec::with_capacity(stages.len());
    for (at, stage) in stages.into_iter().enumerate() {
        let mut places = vec![None; stage.outputs.len()];
        let mut outputs = Vec::with_capacity(stage.outputs.len());
        for table in tables.iter_mut() {
            if let Table::StageValues { stage: of, output }
            | Table::StageValidity { stage: of, output } = table
                && *of == at
            {
                let place = *places[*output].get_or_insert_with(|| {
                    outputs.push(stage.outputs[*output]);
                    outputs.len() - 1
                });
                // Never a stage that is still to come: none has a lesser number than it had.
                (*of, *output) = (finished.len(), place);
            }
        }
        if outputs.is_empty() {
            continue;
        }
        let built = stage.lowering.builder.finish(None, false, &outputs)?;
        let built = sweep(built)?;
        finished.push(DictionaryStage {
            column: stage.column,
            program: built.program,
            params: built.params,
            sets: built.sets,
        });
    }
    Ok(finished)
}

fn first_decode(tree: &Typed) -> Option<&Typed> {
    if let Node::Decode(_) = tree.node {
        return Some(tree);
    }
    let mut found = None;
    tree.for_each_child(|child| found = found.or_else(|| first_decode(child)));
    found
}
