//! How a session is given it.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use unlade::Runtime;

use crate::config::UnladeConfig;
use crate::resident::PinningFactory;
use crate::rule::UnladeRule;

/// What a builder of sessions can be given.
pub trait SessionStateBuilderExt {
    /// Has filters and projections run on a runtime's devices, by [`UnladeRule`], and makes
    /// [`UnladeConfig`] known, unless it is. To be given after `with_config`, which replaces that, and
    /// after `with_default_features`, whose `CREATE EXTERNAL TABLE` it has pin tables that are to be.
    fn with_unlade(self, runtime: &Runtime) -> Self;
}

impl SessionStateBuilderExt for SessionStateBuilder {
    fn with_unlade(mut self, runtime: &Runtime) -> Self {
        let config = self.config().get_or_insert_with(SessionConfig::new);
        let extensions = &mut config.options_mut().extensions;
        if extensions.get::<UnladeConfig>().is_none() {
            extensions.insert(UnladeConfig::default());
        }
        for factory in self
            .table_factories()
            .iter_mut()
            .flat_map(HashMap::values_mut)
        {
            *factory = Arc::new(PinningFactory {
                inner: Arc::clone(factory),
                runtime: runtime.clone(),
            });
        }
        self.with_physical_optimizer_rule(Arc::new(UnladeRule::new(runtime)))
    }
}
