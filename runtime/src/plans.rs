//! Queries compiled lately: asking for one again costs a look-up.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};

use arrow_schema::SchemaRef;
use unlade_expr::{Query, Semantics};

use crate::error::Error;
use crate::kernel::Plan;
use crate::route::Allowed;
use crate::sync::{Mutex, MutexGuard};

/// Queries kept. Beyond that all are forgotten, which costs only their compilation: programs have
/// a cache of their own.
const CAPACITY: usize = 256;

/// A bounded map from queries to plans.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    hasher: RandomState,
    known: Mutex<HashMap<u64, Known>>,
}

#[derive(Debug)]
struct Known {
    schema: SchemaRef,
    allowed: Allowed,
    plan: Arc<Plan>,
}

impl Plans {
    /// The plan of a query, made where it is not known. Two threads may make one twice; neither
    /// waits.
    pub(crate) fn get_or_make(
        &self,
        query: &Query,
        schema: &SchemaRef,
        semantics: &Semantics,
        allowed: &Allowed,
        make: impl FnOnce() -> Result<Plan, Error>,
    ) -> Result<Arc<Plan>, Error> {
        let hash = self.hasher.hash_one((query, allowed));
        if let Some(known) = self.lock().get(&hash)
            && known.plan.semantics == *semantics
            && known.allowed == *allowed
            && (Arc::ptr_eq(&known.schema, schema) || known.schema == *schema)
            && known.plan.query.is_identical(query)
        {
            return Ok(Arc::clone(&known.plan));
        }
        let plan = Arc::new(make()?);
        let known = Known {
            schema: Arc::clone(schema),
            allowed: allowed.clone(),
            plan: Arc::clone(&plan),
        };
        let mut all = self.lock();
        let forgotten = if all.len() == CAPACITY {
            std::mem::take(&mut *all)
        } else {
            HashMap::new()
        };
        all.insert(hash, known);
        drop(all);
        drop(forgotten);
        Ok(plan)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
