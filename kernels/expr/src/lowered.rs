//! What lowering makes of a checked query: a program, and where its arguments come from.

use arrow_schema::DataType;
use unlade_program::{Imm, Program, Ty};

/// What becomes of payload columns, those put out as they came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Columns of fixed width are outputs of the program, which compacts them while their tile is
    /// in cache: for the CPU, and for data that is resident on a device. The keep mask is emitted
    /// only if a column of another kind, or the caller, needs it.
    Fused,
    /// The same, and whoever runs the program compacts columns of strings by the mask, which is
    /// emitted for them: of each that may be null the program puts out which of those kept are not,
    /// see [`Lowered::strings`].
    FusedWithStrings,
    /// The program emits the keep mask and payload is compacted where it lies: for a device at
    /// the other end of a bus.
    Late,
}

/// A program with the sources of its arguments and the destinations of its results.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowered {
    /// The program: verified, optimised, its literals made parameters.
    pub program: Program,
    /// For each program column, the batch column it reads. Of a dictionary-encoded column the
    /// program reads the keys; of a payload column of a type that programs do not know, the bits;
    /// and where [`Lowered::reads_validity`] says so, which rows are not null.
    pub columns: Vec<usize>,
    /// For each program parameter, its value.
    pub params: Vec<Imm>,
    /// For each program table, where it comes from.
    pub tables: Vec<Table>,
    /// For each program set, its ascending entries as little-endian bytes of the set's type.
    pub sets: Vec<Vec<u8>>,
    /// Expressions over a dictionary's values, evaluated once per dictionary.
    pub stages: Vec<DictionaryStage>,
    /// For each field of the query's output, where it comes from.
    pub outputs: Vec<Destination>,
    /// The columns of strings among the payload, each once, where [`Payload::FusedWithStrings`]
    /// asked for them and a filter drops rows; else none.
    pub strings: Vec<StringsPayload>,
}

impl Lowered {
    /// Whether a program column is no values but the validity of the batch column that it reads:
    /// a bit per row, set where the row is not null. `of` is that column's type.
    ///
    /// Nulls are logical ones: those of a dictionary's or a run's values count.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use arrow_schema::{DataType, Field, Schema};
    /// use unlade_expr::{Payload, Query, Semantics, check, lower, parse_expr};
    ///
    /// let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
    /// let query = Query::mask(parse_expr("name IS NOT NULL")?);
    /// let lowered = lower(&check(&query, &schema, &Semantics::arrow())?, Payload::Late)?;
    /// assert_eq!(lowered.columns, [0]);
    /// assert!(lowered.reads_validity(0, &DataType::Utf8));
    /// # Ok::<(), unlade_expr::ExprError>(())
    /// ```
    ///
    /// # Panics
    /// Where the program has no such column.
    pub fn reads_validity(&self, column: usize, of: &DataType) -> bool {
        self.program.columns[column].ty == Ty::Mask && *of != DataType::Boolean
    }
}

/// A payload column of strings that whoever runs the program may compact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StringsPayload {
    /// The batch column: `Utf8`, `LargeUtf8`, `Binary` or `LargeBinary`.
    pub column: usize,
    /// The program's output, a mask, that says which of the rows kept are not null; `None` where
    /// the schema says that none is.
    pub validity: Option<usize>,
}

/// Where a table of the program comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// The values of the dictionary of this batch column.
    DictionaryValues {
        /// The batch column.
        column: usize,
    },
    /// The validity bitmap of the values of this batch column's dictionary, all ones where there
    /// is none, padded to whole bytes.
    DictionaryValidity {
        /// The batch column.
        column: usize,
    },
    /// The values of an output of a stage.
    StageValues {
        /// Position in [`Lowered::stages`].
        stage: usize,
        /// Output of the stage's program.
        output: usize,
    },
    /// The validity of an output of a stage, all ones where it has none.
    StageValidity {
        /// Position in [`Lowered::stages`].
        stage: usize,
        /// Output of the stage's program.
        output: usize,
    },
}

/// An expression over one dictionary's values.
///
/// Its program has one column, the values (or none, if all it does is the same for every value),
/// and never traps: what would trap becomes an output of type mask, looked up by key and raised
/// only where an active valid row refers to it.
#[derive(Clone, Debug, PartialEq)]
pub struct DictionaryStage {
    /// The dictionary-encoded batch column.
    pub column: usize,
    /// The program over the dictionary's values.
    pub program: Program,
    /// For each program parameter, its value.
    pub params: Vec<Imm>,
    /// For each program set, its ascending entries as little-endian bytes.
    pub sets: Vec<Vec<u8>>,
}

/// Where an output field comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A program output, to be read as the field's type.
    Program {
        /// The program's output.
        output: usize,
    },
    /// A program output that holds dictionary keys; the dictionary is the batch column's.
    Keys {
        /// The program's output.
        output: usize,
        /// The batch column whose dictionary the keys refer to.
        column: usize,
    },
    /// A batch column, compacted by the keep mask; it may be among [`Lowered::strings`].
    Payload {
        /// The batch column.
        column: usize,
    },
}
