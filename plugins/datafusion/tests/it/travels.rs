//! Plans as bytes: what is read answers as what was written did, and what is not whole is refused.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_schema::{DataType, Schema};
use datafusion::common::{Result, not_impl_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use datafusion_proto::physical_plan::{
    DefaultPhysicalProtoConverter, PhysicalExtensionCodec, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use datafusion_proto::protobuf::{PhysicalExtensionNode, PhysicalPlanNode};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unlade_datafusion::{LeftExec, UnladeCodec, UnladeConfig, UnladeExec};

use crate::answers::all;
use crate::common::{DEVICES, chosen, forced, metric, nodes, plain, rows, run, runtime, table};
use crate::tables::mixed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_that_travelled_answer_as_they_did_before() {
    let batches = mixed();
    let writer = writer();
    for device in DEVICES {
        let runtime = runtime(device);
        let codec = UnladeCodec::new(&runtime);
        let rows_on = format!("rows_on_{}", chosen(&runtime));
        let reference = plain();
        table(&reference, "t", &batches);
        for (sql, is_taken) in all() {
            let (_, expected) = run(&reference, sql).await.expect(sql);
            let plan = planned(&writer, sql).await;
            let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&plan), &codec);
            let context = reader(&chosen(&runtime), &[]);
            let read =
                physical_plan_from_bytes_with_extension_codec(&bytes.expect(sql), &context, &codec)
                    .unwrap_or_else(|error| panic!("{device}: {sql}: {error}"));
            if device == "cpu" {
                assert_eq!(shown(&read), shown(&plan), "{sql}");
            }
            let answer = collect(Arc::clone(&read), context).await.expect(sql);
            assert_eq!(rows(&answer), rows(&expected), "{device}: {sql}");
            if is_taken {
                assert_eq!(nodes(&read).len(), nodes(&plan).len(), "{device}: {sql}");
                assert!(metric(&read, &rows_on) > 0, "{device}: {sql}");
            }
        }
    }
}

#[tokio::test]
async fn damaged_nodes_are_refused() {
    let (codec, context) = (UnladeCodec::new(&runtime("cpu")), reader("cpu", &[]));
    for (bytes, inputs) in written(&codec).await {
        let decode = |bytes: &[u8]| codec.try_decode(bytes, &inputs, &context, &CONVERTER);
        decode(&bytes).expect("it is whole");
        for length in 0..bytes.len() {
            decode(&bytes[..length]).expect_err("a part of it is not it");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let found = decode(&damaged);
            assert!(found.is_err(), "bit {bit} does not matter: {found:?}");
        }
        let more = [&bytes[..], &[0]].concat();
        decode(&more).expect_err("a byte too many");
        for wrong in [vec![], vec![Arc::clone(&inputs[0]); 2]] {
            let found = codec.try_decode(&bytes, &wrong, &context, &CONVERTER);
            found.expect_err("it has one input");
        }
    }
}

/// Bytes that somebody made up, with the checksum that belongs to them: whatever becomes of them, it
/// is no panic, and what is made of them can be shown.
#[tokio::test]
async fn bytes_of_bad_will_do_no_harm() {
    let seed = std::env::var("UNLADE_FUZZ_SEED").map_or(7, |text| text.parse().expect("a number"));
    println!("UNLADE_FUZZ_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (codec, context) = (UnladeCodec::new(&runtime("cpu")), reader("cpu", &[]));
    let (mut read, mut refused) = (0, 0);
    for (bytes, inputs) in written(&codec).await {
        for _ in 0..500 {
            let mut made_up = bytes.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(HEADER..made_up.len());
                match random.random_range(0..3) {
                    0 => made_up[at] = random.random(),
                    1 => _ = made_up.remove(at),
                    _ => made_up.insert(at, random.random()),
                }
            }
            seal(&mut made_up);
            let found = catch_unwind(AssertUnwindSafe(|| {
                let found = codec.try_decode(&made_up, &inputs, &context, &CONVERTER);
                found.map(|plan| shown(&plan))
            }));
            match found {
                Ok(Ok(_)) => read += 1,
                Ok(Err(_)) => refused += 1,
                Err(_) => panic!("a panic of {made_up:?}"),
            }
        }
    }
    assert!(
        read > 0 && refused > 1_000,
        "{read} read, {refused} refused"
    );
}

#[tokio::test]
async fn a_node_computes_what_its_operators_do() {
    let codec = UnladeCodec::new(&runtime("cpu"));
    let context = reader("cpu", &[]);
    let writer = writer();
    let mut nodes = Vec::new();
    for sql in ["SELECT a FROM t WHERE a > 3", "SELECT a FROM t WHERE a > 4"] {
        let plan = planned(&writer, sql).await;
        nodes.extend(encoded(&plan, &codec));
    }
    let [(one, inputs), (other, _)] = &nodes[..] else {
        panic!("{} nodes", nodes.len());
    };
    let inside = |bytes: &[u8]| Taken::decode(&bytes[HEADER..]).expect("it is the plugin's");
    let outside = |taken: Taken| {
        let mut bytes = [&one[..HEADER], &taken.encode_to_vec()].concat();
        seal(&mut bytes);
        let found = codec.try_decode(&bytes, inputs, &context, &CONVERTER);
        found
            .map(|plan| shown(&plan))
            .map_err(|error| error.to_string())
    };
    outside(inside(one)).expect("it is what was written");
    let mixed = Taken {
        request: inside(other).request,
        ..inside(one)
    };
    let error = outside(mixed).unwrap_err();
    assert!(error.contains("computes what the operators"), "{error}");
    let nothing = Taken {
        replaced: None,
        ..inside(one)
    };
    let error = outside(nothing).unwrap_err();
    assert!(error.contains("stands for nothing"), "{error}");
    let fused = Taken {
        fused: true,
        ..inside(one)
    };
    let error = outside(fused).unwrap_err();
    assert!(error.contains("cannot be taken"), "{error}");
    let mode = Taken {
        mode: "sometimes".to_owned(),
        ..inside(one)
    };
    let error = outside(mode).unwrap_err();
    assert!(error.contains("unlade.mode"), "{error}");
}

/// Bytes in a message are no message to who counts how deep those go.
#[tokio::test]
async fn a_node_stands_for_no_other_of_ours() {
    let (codec, context) = (UnladeCodec::new(&runtime("cpu")), reader("cpu", &[]));
    let mut node = Vec::new();
    for _ in 0..3_000 {
        let extension = PhysicalExtensionNode {
            node,
            inputs: vec![leaf(&codec)],
        };
        let taken = Taken {
            request: Vec::new(),
            replaced: Some(PhysicalPlanNode {
                physical_plan_type: Some(PhysicalPlanType::Extension(extension)),
            }),
            fused: false,
            mode: String::new(),
        };
        node = [&b"UnladeDF\x01\x01\0\0\0\0"[..], &taken.encode_to_vec()].concat();
        seal(&mut node);
    }
    let input: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
    let found = codec.try_decode(&node, &[input], &context, &CONVERTER);
    let error = found.unwrap_err().to_string();
    assert!(error.contains("stands for, which came as bytes"), "{error}");
}

#[tokio::test]
async fn the_readers_options_decide_where_it_runs() {
    let writer = writer();
    let codec = UnladeCodec::new(&runtime("cpu"));
    let read = |bytes: &[u8], context: &TaskContext| {
        physical_plan_from_bytes_with_extension_codec(bytes, context, &codec)
    };
    let bytes = |plan| {
        physical_plan_to_bytes_with_extension_codec(plan, &codec).expect("it can be written")
    };
    let sql = "SELECT a FROM t WHERE a > 3";
    let offloaded = bytes(planned(&writer, sql).await);
    let off = reader("cpu", &[("unlade.enabled", "false")]);
    let plan = read(&offloaded, &off).unwrap();
    assert!(nodes(&plan).is_empty(), "{}", shown(&plan));
    assert!(
        shown(&plan).contains("because of unlade.enabled"),
        "{}",
        shown(&plan)
    );
    let error = read(&offloaded, &reader("cuda:7", &[])).unwrap_err();
    assert!(error.to_string().contains("cuda:7"), "{error}");

    // What must not be left where it was planned must not be left where it runs.
    writer.sql("SET unlade.mode = 'require'").await.unwrap();
    let required = bytes(planned(&writer, sql).await);
    assert_eq!(
        nodes(&read(&required, &reader("cpu", &[])).unwrap()).len(),
        1
    );
    let error = read(&required, &off).unwrap_err().to_string();
    assert!(error.contains("unlade.mode is require"), "{error}");
}

#[tokio::test]
async fn what_others_have_travels_by_their_codec() {
    let writer = writer();
    writer.register_udf(ScalarUDF::from(Identity::default()));
    let plan = planned(
        &writer,
        "SELECT identity(a) FROM t WHERE a > 3 AND identity(b) > 2",
    )
    .await;
    assert_eq!(nodes(&plan).len(), 1, "{}", shown(&plan));
    let (runtime, context) = (runtime("cpu"), reader("cpu", &[]));
    let alone = UnladeCodec::new(&runtime);
    let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&plan), &alone).unwrap();
    let error = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &alone);
    error.expect_err("nobody there has the function");

    let codec = UnladeCodec::new(&runtime).with_others(Arc::new(Others));
    let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&plan), &codec).unwrap();
    let read = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec).unwrap();
    assert_eq!(shown(&read), shown(&plan));
    let answer = collect(read, context).await.unwrap();
    let expected = collect(plan, writer.task_ctx()).await.unwrap();
    assert_eq!(rows(&answer), rows(&expected));
}

/// What bytes of a node begin with: magic, version, kind, checksum.
const HEADER: usize = 14;

/// Gives bytes the checksum that belongs to them.
fn seal(bytes: &mut [u8]) {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[8..10]), &bytes[HEADER..]);
    bytes[10..HEADER].copy_from_slice(&sum.to_le_bytes());
}

/// What is inside of those of an [`UnladeExec`].
#[derive(Clone, PartialEq, Message)]
struct Taken {
    #[prost(bytes = "vec", tag = "1")]
    request: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    replaced: Option<PhysicalPlanNode>,
    #[prost(bool, tag = "3")]
    fused: bool,
    #[prost(string, tag = "4")]
    mode: String,
}

/// A node of DataFusion's without an input.
fn leaf(codec: &UnladeCodec) -> PhysicalPlanNode {
    let leaf: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
    let node = CONVERTER.execution_plan_to_proto(&leaf, codec);
    node.expect("it can be written")
}

const CONVERTER: DefaultPhysicalProtoConverter = DefaultPhysicalProtoConverter {};

/// A session that takes all it can.
fn writer() -> SessionContext {
    let context = forced(&runtime("cpu"));
    table(&context, "t", &mixed());
    context
}

/// A session that knows nothing of the plans that it reads.
fn reader(device: &str, options: &[(&str, &str)]) -> Arc<TaskContext> {
    let config = SessionConfig::new()
        .with_option_extension(UnladeConfig::default())
        .set_str("unlade.device", device);
    let config = options
        .iter()
        .fold(config, |config, (key, value)| config.set_str(key, value));
    SessionContext::new_with_config(config).task_ctx()
}

async fn planned(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    let frame = context.sql(sql).await.expect(sql);
    frame.create_physical_plan().await.expect(sql)
}

fn shown(plan: &Arc<dyn ExecutionPlan>) -> String {
    // Predictions are those of the reader's devices.
    let text = displayable(plan.as_ref()).indent(false).to_string();
    let lines = text.lines().map(|line| match line.split_once("device=") {
        Some((before, after)) => match after.split_once("), ") {
            Some((_, after)) => format!("{before}{after}"),
            None => before.to_owned(),
        },
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A node as bytes, with its inputs.
type Written = (Vec<u8>, Vec<Arc<dyn ExecutionPlan>>);

/// Nodes of ours as bytes.
async fn written(codec: &UnladeCodec) -> Vec<Written> {
    let writer = writer();
    let mut found = Vec::new();
    for sql in [
        "SELECT a, s FROM t WHERE a > 5 AND f < 2.5",
        "SELECT CASE WHEN a > 3 THEN b END, nullif(a, 3) FROM t WHERE p AND m < 24.5",
        "SELECT a FROM t WHERE a > 2 AND s LIKE '%1%' AND f < 3",
        "SELECT try_cast(f AS INT), u % 7 FROM t",
    ] {
        let plan = planned(&writer, sql).await;
        found.extend(encoded(&plan, codec));
    }
    assert!(found.len() > 4, "{} nodes", found.len());
    found
}

fn encoded(plan: &Arc<dyn ExecutionPlan>, codec: &UnladeCodec) -> Vec<Written> {
    let children = plan.children();
    let mut found: Vec<_> = children
        .iter()
        .flat_map(|child| encoded(child, codec))
        .collect();
    if plan.is::<UnladeExec>() || plan.is::<LeftExec>() {
        let mut bytes = Vec::new();
        codec
            .try_encode(Arc::clone(plan), &mut bytes, &CONVERTER)
            .expect("it can be written");
        found.push((bytes, children.into_iter().cloned().collect()));
    }
    found
}

/// A function that the language lacks.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    signature: Signature,
}

impl Default for Identity {
    fn default() -> Self {
        Identity {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Identity {
    fn name(&self) -> &str {
        "identity"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(args[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}

/// A codec for that function alone.
#[derive(Debug)]
struct Others;

impl PhysicalExtensionCodec for Others {
    fn try_decode(
        &self,
        _buf: &[u8],
        _inputs: &[Arc<dyn ExecutionPlan>],
        _context: &TaskContext,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        not_impl_err!("there are no such nodes")
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        _buf: &mut Vec<u8>,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        not_impl_err!("{} is no node of it", node.name())
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        buf.extend_from_slice(node.name().as_bytes());
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        match buf {
            b"identity" => Ok(Arc::new(ScalarUDF::from(Identity::default()))),
            _ => not_impl_err!("there is no {name}"),
        }
    }
}
