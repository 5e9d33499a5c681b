//! The plugin's nodes as bytes, so that plans travel between processes.
//!
//! What goes is the request for the kernel in the format of docs/WIRE.md, and the operators that the
//! node stands for, over an empty leaf, in DataFusion's own. Whoever reads them compiles the request
//! for a device of its own. An envelope says what is inside, of which version, and has a checksum.

use std::sync::Arc;

use datafusion::common::{Result, internal_err, plan_datafusion_err, plan_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::{ExecutionPlan, ReplaceChildrenOptions};
use datafusion_proto::physical_plan::{
    DefaultPhysicalExtensionCodec, PhysicalExtensionCodec, PhysicalPlanDecodeContext,
    PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::PhysicalPlanNode;
use prost::Message;
use unlade::Runtime;
use unlade_wire::{decode_kernel, encode_kernel};

use crate::compiler::Compiler;
use crate::config::{Mode, UnladeConfig};
use crate::exec::UnladeExec;
use crate::left::{LeftExec, noted};
use crate::resident::ResidentExec;
use crate::shape::{Extent, Shape, with_input};

/// Writes plans with [`UnladeExec`]s and [`LeftExec`]s, and reads them for the devices of a runtime.
///
/// The reader's options say which device is to run a node, and whether any is (`unlade.device`,
/// `unlade.enabled`); the mode comes with the node. A node that none of the reader's devices runs is
/// left to DataFusion, with a note, or is an error where the mode is `require`. An `unlade.device`
/// that the reader's runtime does not have is an error in every mode.
///
/// ```
/// use std::sync::Arc;
///
/// use datafusion::execution::SessionStateBuilder;
/// use datafusion::physical_plan::collect;
/// use datafusion::prelude::SessionContext;
/// use datafusion_proto::bytes::{
///     physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
/// };
/// use unlade_datafusion::{SessionStateBuilderExt, UnladeCodec};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = unlade::runtime()?;
/// let state = SessionStateBuilder::new().with_default_features().with_unlade(&runtime);
/// let writer = SessionContext::new_with_state(state.build());
/// writer.sql("SET unlade.force = true").await?;
/// let rows = writer.sql("SELECT v + 1 AS w FROM (VALUES (1), (5), (9)) AS t(v) WHERE v > 3");
/// let plan = rows.await?.create_physical_plan().await?;
///
/// let codec = UnladeCodec::new(&runtime);
/// let bytes = physical_plan_to_bytes_with_extension_codec(plan, &codec)?;
///
/// let reader = SessionContext::new();
/// let plan = physical_plan_from_bytes_with_extension_codec(&bytes, &reader.task_ctx(), &codec)?;
/// let batches = collect(plan, reader.task_ctx()).await?;
/// assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UnladeCodec {
    runtime: Runtime,
    others: Arc<dyn PhysicalExtensionCodec>,
}

impl UnladeCodec {
    /// A codec for plans in which all other nodes are DataFusion's own.
    pub fn new(runtime: &Runtime) -> Self {
        UnladeCodec {
            runtime: runtime.clone(),
            others: Arc::new(DefaultPhysicalExtensionCodec {}),
        }
    }

    /// The same for plans that have nodes, functions and expressions of another codec, too.
    pub fn with_others(self, others: Arc<dyn PhysicalExtensionCodec>) -> Self {
        UnladeCodec { others, ..self }
    }
}

/// A node of ours.
#[derive(Clone, PartialEq, Message)]
struct Taken {
    /// What is computed, as [`encode_kernel`] writes it.
    #[prost(bytes = "vec", tag = "1")]
    request: Vec<u8>,
    /// What the node stands for, over an empty leaf of the input's schema.
    #[prost(message, optional, tag = "2")]
    replaced: Option<PhysicalPlanNode>,
    /// Whether that is a projection over a filter.
    #[prost(bool, tag = "3")]
    fused: bool,
    /// `unlade.mode` of the session that made it.
    #[prost(string, tag = "4")]
    mode: String,
}

/// A note over an operator that was left.
#[derive(Clone, PartialEq, Message)]
struct Note {
    #[prost(string, tag = "1")]
    why: String,
}

/// What envelopes begin with.
const MAGIC: &[u8; 8] = b"UnladeDF";

/// The one version of what is inside.
const VERSION: u8 = 1;

/// What is inside, by its number.
const TAKEN: u8 = 1;
const NOTE: u8 = 2;

/// Magic, version, kind, and the CRC-32C of these two and the body, least byte first.
const HEADER: usize = MAGIC.len() + 2 + 4;

/// What errors about bytes begin with.
const MALFORMED: &str = "a node of Unlade's that came as bytes is damaged or of another version";

impl PhysicalExtensionCodec for UnladeCodec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(node) = node.downcast_ref::<UnladeExec>() {
            seal(TAKEN, &self.taken(node, converter)?, buf);
        } else if let Some(note) = node.downcast_ref::<LeftExec>() {
            let why = note.why().to_owned();
            seal(NOTE, &Note { why }, buf);
        } else if node.is::<ResidentExec>() {
            return plan_err!(
                "a resident table is in the memory of this process and its devices, and does not \
                 travel; make it one where the plan is read"
            );
        } else {
            return self.others.try_encode(node, buf, converter);
        }
        Ok(())
    }

    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !buf.starts_with(MAGIC) {
            return self.others.try_decode(buf, inputs, context, converter);
        }
        let (kind, body) = open(buf)?;
        let [input] = inputs else {
            return plan_err!("{MALFORMED}: it has {} inputs, not one", inputs.len());
        };
        let input = Arc::clone(input);
        match kind {
            TAKEN => self.untaken(message(body)?, input, context, converter),
            NOTE => {
                let Note { why } = message(body)?;
                Ok(Arc::new(LeftExec::new(input, why)))
            }
            other => plan_err!("{MALFORMED}: there is no kind {other}"),
        }
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.others.try_decode_udf(name, buf)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.others.try_encode_udf(node, buf)
    }

    fn try_decode_higher_order_function(
        &self,
        name: &str,
        buf: &[u8],
    ) -> Result<Arc<HigherOrderUDF>> {
        self.others.try_decode_higher_order_function(name, buf)
    }

    fn try_encode_higher_order_function(
        &self,
        node: &HigherOrderUDF,
        buf: &mut Vec<u8>,
    ) -> Result<()> {
        self.others.try_encode_higher_order_function(node, buf)
    }

    fn try_decode_expr(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn PhysicalExpr>],
        context: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        self.others.try_decode_expr(buf, inputs, context)
    }

    fn try_encode_expr(
        &self,
        node: &Arc<dyn PhysicalExpr>,
        buf: &mut Vec<u8>,
        context: &PhysicalExprEncodeCtx<'_>,
    ) -> Result<()> {
        self.others.try_encode_expr(node, buf, context)
    }

    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.others.try_decode_udaf(name, buf)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.others.try_encode_udaf(node, buf)
    }

    fn try_decode_udwf(&self, name: &str, buf: &[u8]) -> Result<Arc<WindowUDF>> {
        self.others.try_decode_udwf(name, buf)
    }

    fn try_encode_udwf(&self, node: &WindowUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.others.try_encode_udwf(node, buf)
    }
}

impl UnladeCodec {
    fn taken(
        &self,
        node: &UnladeExec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Taken> {
        let (shape, extent) = (node.shape(), node.extent());
        let request = shape.request();
        let request = request.map_err(|why| plan_datafusion_err!("{why} cannot be written"))?;
        let request = encode_kernel(&request);
        let leaf = Arc::new(EmptyExec::new(shape.input.schema()));
        let replaced = with_input(node.replaced(), extent, leaf, ANEW)?;
        // What is no such operator is refused where it is read.
        if Shape::of(&replaced, extent).is_none() {
            return internal_err!(
                "{} stands for {}, which cannot be written",
                node.name(),
                replaced.name()
            );
        }
        Ok(Taken {
            request: request.map_err(|error| plan_datafusion_err!("{error}"))?,
            replaced: Some(converter.execution_plan_to_proto(&replaced, &*self.others)?),
            fused: extent == Extent::Fused,
            mode: node.mode().to_string(),
        })
    }

    fn untaken(
        &self,
        taken: Taken,
        input: Arc<dyn ExecutionPlan>,
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(replaced) = &taken.replaced else {
            return plan_err!("{MALFORMED}: it stands for nothing");
        };
        // A node stands for none of ours. Read as one it could stand for another, and so on for as
        // long as the bytes last: how deep messages go is counted anew in bytes that are inside.
        let scope = PhysicalPlanDecodeContext::new(context, &*self.others);
        let replaced = converter.proto_to_execution_plan(replaced, &scope);
        let replaced = replaced.map_err(|error| {
            error.context("what a node of Unlade's stands for, which came as bytes, cannot be read")
        })?;
        let extent = match taken.fused {
            true => Extent::Fused,
            false => Extent::Top,
        };
        let Some(shape) = Shape::of(&replaced, extent) else {
            return plan_err!("{MALFORMED}: {} cannot be taken", replaced.name());
        };
        let (wanted, given) = (shape.input.schema(), input.schema());
        if wanted.fields() != given.fields() {
            return plan_err!("{MALFORMED}: its input is {given}, and was to be {wanted}");
        }
        let request = decode_kernel(&taken.request);
        let request = request.map_err(|error| plan_datafusion_err!("{MALFORMED}: {error}"))?;
        // A plugin of another version may read the same operators otherwise.
        let read = shape.request();
        if read.is_err() || read.is_ok_and(|read| encode_kernel(&read).ok() != Some(taken.request))
        {
            return plan_err!("{MALFORMED}: it computes what the operators that it is for do not");
        }
        let mode: Mode = taken.mode.parse()?;
        let replaced = with_input(&replaced, extent, input, ANEW)?;

        let default = UnladeConfig::default();
        let extensions = &context.session_config().options().extensions;
        let options = extensions.get::<UnladeConfig>().unwrap_or(&default);
        if !options.enabled {
            return noted(
                replaced,
                "unlade.enabled, which is off",
                mode,
                options.notes,
            );
        }
        let compiler = Compiler::new(&self.runtime, options)?;
        match compiler.work(&request, &replaced.schema(), mode) {
            Ok(work) => Ok(Arc::new(UnladeExec::new(replaced, extent, work)?)),
            Err(why) => noted(replaced, &why.0, mode, options.notes),
        }
    }
}

/// Order, equivalences and partitioning are those over the input that there is.
const ANEW: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);

fn seal(kind: u8, message: &impl Message, buf: &mut Vec<u8>) {
    let body = message.encode_to_vec();
    buf.extend_from_slice(MAGIC);
    buf.extend_from_slice(&[VERSION, kind]);
    buf.extend_from_slice(&checksum([VERSION, kind], &body).to_le_bytes());
    buf.extend_from_slice(&body);
}

/// The kind of what is inside, and its bytes.
fn open(bytes: &[u8]) -> Result<(u8, &[u8])> {
    let Some((header, body)) = bytes.split_at_checked(HEADER) else {
        return plan_err!("{MALFORMED}: it ends after {} bytes", bytes.len());
    };
    let [version, kind, sum @ ..] = &header[MAGIC.len()..] else {
        return internal_err!("a header is {HEADER} bytes");
    };
    if checksum([*version, *kind], body).to_le_bytes() != *sum {
        return plan_err!("{MALFORMED}: its checksum is another");
    }
    match *version {
        VERSION => Ok((*kind, body)),
        other => plan_err!("{MALFORMED}: it is of version {other}, and {VERSION} is read"),
    }
}

fn checksum(of: [u8; 2], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&of), body)
}

fn message<T: Message + Default>(body: &[u8]) -> Result<T> {
    T::decode(body).map_err(|error| plan_datafusion_err!("{MALFORMED}: {error}"))
}
