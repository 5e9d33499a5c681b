//! How what is recorded is written that has another form in memory.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::placement::{CALIBRATION_VERSION, Calibration};

/// What was measured, or nothing where that is of another version.
pub(super) fn calibration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Calibration, D::Error> {
    let form = Value::deserialize(deserializer)?;
    match form["version"].as_u64() == Some(CALIBRATION_VERSION.into()) {
        true => serde_json::from_value(form).map_err(D::Error::custom),
        false => Ok(Calibration::default()),
    }
}

/// `wall` or `virtual`.
pub(super) mod clock {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use unlade_hal::ClockKind;

    pub(in super::super) fn serialize<S: Serializer>(
        clock: &ClockKind,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        crate::receipt::clock_name(clock, serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ClockKind, D::Error> {
        let name = String::deserialize(deserializer)?;
        let clocks = [ClockKind::Wall, ClockKind::Virtual];
        let mut clocks = clocks.into_iter();
        let found = clocks.find(|clock| crate::receipt::clock_text(*clock) == name);
        found.ok_or_else(|| D::Error::custom(format!("`{name}` is no clock: wall or virtual")))
    }
}

/// Rates per second, null where there is no limit.
pub(super) mod profile {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::placement::{LinkId, Profile};

    #[derive(Serialize, Deserialize)]
    struct Form {
        launch_ns: u64,
        stage: Option<f64>,
        copy_in: Option<f64>,
        in_place: bool,
        copy_out: Option<f64>,
        read: Option<f64>,
        work: Option<f64>,
        gather: Option<f64>,
        compile_ns: u64,
        host: bool,
        link: Option<u32>,
    }

    pub(in super::super) fn serialize<S: Serializer>(
        profile: &Profile,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let limit = |rate: f64| rate.is_finite().then_some(rate);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let form = Form {
            launch_ns: nanos(profile.launch),
            stage: limit(profile.stage),
            copy_in: limit(profile.copy_in),
            in_place: profile.in_place,
            copy_out: limit(profile.copy_out),
            read: limit(profile.read),
            work: limit(profile.work),
            gather: limit(profile.gather),
            compile_ns: nanos(profile.compile),
            host: profile.host,
            link: profile.link.map(|link| link.0),
        };
        form.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Profile, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let rate = |limit: Option<f64>| limit.unwrap_or(f64::INFINITY);
        Ok(Profile {
            launch: Duration::from_nanos(form.launch_ns),
            stage: rate(form.stage),
            copy_in: rate(form.copy_in),
            in_place: form.in_place,
            copy_out: rate(form.copy_out),
            read: rate(form.read),
            work: rate(form.work),
            gather: rate(form.gather),
            compile: Duration::from_nanos(form.compile_ns),
            host: form.host,
            link: form.link.map(LinkId),
        })
    }
}

/// A [`Work`](crate::placement::Work), its key in two fields.
pub(super) mod work {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::placement::{HostBuffer, Operation, ProgramId, TypeClass, Work, WorkKey};

    #[derive(Serialize, Deserialize)]
    struct Form {
        operation: Operation,
        #[serde(rename = "type")]
        ty: TypeClass,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<ProgramId>,
        rows: u64,
        cost_per_row: f64,
        bytes_in: u64,
        bytes_out: u64,
        bytes_gathered: u64,
        buffer: HostBuffer,
        launches: u32,
    }

    pub(in super::super) fn serialize<S: Serializer>(
        work: &Work,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let form = Form {
            operation: work.key.operation,
            ty: work.key.ty,
            program: work.program,
            rows: work.rows,
            cost_per_row: work.cost_per_row,
            bytes_in: work.bytes_in,
            bytes_out: work.bytes_out,
            bytes_gathered: work.bytes_gathered,
            buffer: work.buffer,
            launches: work.launches,
        };
        form.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Work, D::Error> {
        let form = Form::deserialize(deserializer)?;
        Ok(Work {
            key: WorkKey {
                operation: form.operation,
                ty: form.ty,
            },
            program: form.program,
            rows: form.rows,
            cost_per_row: form.cost_per_row,
            bytes_in: form.bytes_in,
            bytes_out: form.bytes_out,
            bytes_gathered: form.bytes_gathered,
            buffer: form.buffer,
            launches: form.launches,
        })
    }
}
