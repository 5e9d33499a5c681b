//! Queries, rules and kernel requests.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use unlade_expr::{Expr, OnError, Query, Select, Semantics};

use crate::cbor::{Item, Reader, Writer};
use crate::error::WireError;

/// All that a process needs to compile the kernel that another one asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelRequest {
    /// What is asked of a batch.
    pub query: Query,
    /// The schema of the batches that it runs on.
    pub input: SchemaRef,
    /// The rules by which it means what it says.
    pub semantics: Semantics,
}

/// The numbers of lists of outputs. Each is given once and never again.
const ALL: u64 = 0;
const MASK: u64 = 1;
const COLUMNS: u64 = 2;

impl Item for Query {
    fn write(&self, to: &mut Writer) -> Result<(), WireError> {
        to.array(3)?;
        to.optional(self.filter.as_ref())?;
        self.select.write(to)?;
        to.boolean(self.mask)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.array_of(3, "a query")?;
        Ok(Query {
            filter: from.optional(Expr::read)?,
            select: Select::read(from)?,
            mask: from.boolean()?,
        })
    }
}

impl Item for Select {
    fn write(&self, to: &mut Writer) -> Result<(), WireError> {
        match self {
            Select::All => to.tagged(ALL, 0),
            Select::Mask => to.tagged(MASK, 0),
            Select::Columns(items) => {
                to.tagged(COLUMNS, items.len())?;
                to.items(items)
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match from.tagged()? {
            (ALL, 0) => Ok(Select::All),
            (MASK, 0) => Ok(Select::Mask),
            (COLUMNS, count) => Ok(Select::Columns(from.items(count)?)),
            (number, count) => Err(from.malformed(format!(
                "no list of outputs has number {number} and {count} members"
            ))),
        }
    }
}

impl Item for Semantics {
    fn write(&self, to: &mut Writer) -> Result<(), WireError> {
        if self.divide_by_zero == OnError::Wrap {
            return Err(WireError::NotEncodable(DIVISION_WRAPS.to_owned()));
        }
        to.array(7)?;
        self.dialect.write(to)?;
        self.coercion.write(to)?;
        to.items([&self.overflow, &self.cast, &self.divide_by_zero])?;
        self.float_divide_by_zero.write(to)?;
        self.float_order.write(to)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.array_of(7, "a set of rules")?;
        let mut semantics = Semantics::arrow();
        semantics.dialect = Item::read(from)?;
        semantics.coercion = Item::read(from)?;
        semantics.overflow = Item::read(from)?;
        semantics.cast = Item::read(from)?;
        semantics.divide_by_zero = Item::read(from)?;
        semantics.float_divide_by_zero = Item::read(from)?;
        semantics.float_order = Item::read(from)?;
        match semantics.divide_by_zero {
            OnError::Wrap => Err(from.malformed(DIVISION_WRAPS)),
            _ => Ok(semantics),
        }
    }
}

const DIVISION_WRAPS: &str = "a division of integers by zero traps or is null; it cannot wrap";

impl Item for KernelRequest {
    fn write(&self, to: &mut Writer) -> Result<(), WireError> {
        to.array(3)?;
        self.query.write(to)?;
        self.input.as_ref().write(to)?;
        self.semantics.write(to)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.array_of(3, "a kernel request")?;
        Ok(KernelRequest {
            query: Query::read(from)?,
            input: Arc::new(Schema::read(from)?),
            semantics: Semantics::read(from)?,
        })
    }
}
