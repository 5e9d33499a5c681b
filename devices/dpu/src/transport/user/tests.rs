use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use super::super::peer::tests::Other;
use super::*;

/// A connection to a server that does what it is told, with the bytes of each request.
fn connected(
    timeout: Duration,
    server: impl FnOnce(UnixStream) + Send + 'static,
) -> (Connection, JoinHandle<()>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let connection = Connection::new(ours, timeout).unwrap();
    theirs.set_read_timeout(Some(LONG)).unwrap();
    theirs.set_write_timeout(Some(LONG)).unwrap();
    (connection, thread::spawn(move || server(theirs)))
}

const LONG: Duration = Duration::from_secs(30);

/// Reads a request of four bytes of BAR0.
fn read_request(stream: &mut UnixStream) -> [u8; 32] {
    let mut request = [0; 32];
    stream.read_exact(&mut request).unwrap();
    assert_eq!(request[2], 9, "a REGION_READ");
    request
}

/// The right reply to it, with the bytes 1, 2, 3, 4.
fn right_reply(request: &[u8; 32]) -> Vec<u8> {
    let mut reply = request.to_vec();
    (reply[4], reply[8]) = (36, 1);
    reply.extend_from_slice(&[1, 2, 3, 4]);
    reply
}

fn read(connection: &mut Connection) -> Result<[u8; 4], TransportError> {
    let mut bytes = [0; 4];
    connection.region_read(BAR0, 0x24, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn a_reply_may_come_in_pieces() {
    let (mut connection, server) = connected(LONG, |mut stream| {
        for _ in 0..2 {
            let request = read_request(&mut stream);
            for byte in right_reply(&request) {
                stream.write_all(&[byte]).unwrap();
            }
        }
    });
    assert_eq!(read(&mut connection), Ok([1, 2, 3, 4]));
    assert_eq!(read(&mut connection), Ok([1, 2, 3, 4]));
    server.join().unwrap();
}

#[test]
fn a_doorbell_waits_for_no_reply() {
    let (mut connection, server) = connected(LONG, |mut stream| {
        let mut posted = [0; 36];
        stream.read_exact(&mut posted).unwrap();
        let (command, flags) = (posted[2], posted[8]);
        assert_eq!((command, flags), (10, 0x10), "a REGION_WRITE, No_reply");
        assert_eq!(posted[16..], write_body(BAR0, 0x1008, &[7, 0, 0, 0]));
        // What asks for a reply is the next one's turn.
        let request = read_request(&mut stream);
        stream.write_all(&right_reply(&request)).unwrap();
    });
    let body = write_body(BAR0, 0x1008, &[7, 0, 0, 0]);
    connection
        .post(Command::RegionWrite, "REGION_WRITE", &body)
        .unwrap();
    assert_eq!(read(&mut connection), Ok([1, 2, 3, 4]));
    server.join().unwrap();
    let mut gone = Ok(());
    while gone.is_ok() {
        gone = connection.post(Command::RegionWrite, "REGION_WRITE", &body);
    }
    assert_eq!(gone, Err(TransportError::Closed));
    assert_eq!(read(&mut connection), Err(TransportError::Broken));
}

#[test]
fn a_refusal_leaves_the_connection_whole() {
    let (mut connection, server) = connected(LONG, |mut stream| {
        let request = read_request(&mut stream);
        let mut refusal = right_reply(&request);
        refusal.truncate(16);
        (refusal[4], refusal[8], refusal[12]) = (16, 0x21, 22);
        stream.write_all(&refusal).unwrap();
        let request = read_request(&mut stream);
        stream.write_all(&right_reply(&request)).unwrap();
    });
    let refused = TransportError::Refused {
        what: "REGION_READ",
        number: 22,
    };
    assert_eq!(read(&mut connection), Err(refused));
    assert_eq!(read(&mut connection), Ok([1, 2, 3, 4]));
    server.join().unwrap();
}

#[test]
fn a_wrong_reply_breaks_the_connection_for_good() {
    // Id, command, length, type, offset, region, count; a byte more than there should be.
    for (at, value) in [
        (0, 9),
        (2, 10),
        (4, 35),
        (4, 40),
        (6, 255),
        (8, 0),
        (16, 0x20),
        (24, 7),
        (28, 8),
    ] {
        let (mut connection, server) = connected(LONG, move |mut stream| {
            let request = read_request(&mut stream);
            let mut reply = right_reply(&request);
            reply[at] = value;
            reply.extend_from_slice(&[0; 4]);
            stream.write_all(&reply).unwrap();
        });
        let error = read(&mut connection).unwrap_err();
        let wrong = matches!(error, TransportError::BadReply { .. });
        assert!(wrong, "byte {at} is {value}: {error}");
        assert_eq!(read(&mut connection), Err(TransportError::Broken));
        server.join().unwrap();
    }
}

#[test]
fn silence_and_an_end_are_told_apart() {
    let (mut connection, server) = connected(Duration::from_millis(20), |mut stream| {
        read_request(&mut stream);
        // Until the client gives up.
        let _end = stream.read(&mut [0]);
    });
    let error = read(&mut connection).unwrap_err();
    assert!(matches!(error, TransportError::TimedOut { .. }), "{error}");
    assert_eq!(read(&mut connection), Err(TransportError::Broken));
    drop(connection);
    server.join().unwrap();

    let (mut connection, server) = connected(LONG, |mut stream| {
        let request = read_request(&mut stream);
        stream.write_all(&right_reply(&request)[..20]).unwrap();
    });
    assert_eq!(read(&mut connection), Err(TransportError::Closed));
    server.join().unwrap();
}

/// Whatever bits of its replies a server gets wrong, what is read is right or an error.
#[test]
fn mutated_replies_are_right_or_errors() {
    let mut state = 0x5EED_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..300 {
        let [bit, keep, ..] = random().to_le_bytes();
        let (mut connection, server) = connected(LONG, move |mut stream| {
            let request = read_request(&mut stream);
            let mut reply = right_reply(&request);
            // The data itself may be anything.
            reply[usize::from(bit) / 8 % 32] ^= 1 << (bit % 8);
            if keep % 4 == 0 {
                reply.truncate(usize::from(keep) % 36);
            }
            // It may have given up already.
            let _sent = stream.write_all(&reply);
        });
        match read(&mut connection) {
            Ok(bytes) => {
                assert_eq!(bytes, [1, 2, 3, 4]);
                right += 1;
            }
            Err(_) => wrong += 1,
        }
        drop(connection);
        server.join().unwrap();
    }
    assert!(right > 0 && wrong > 200, "{right} right, {wrong} wrong");
}

/// Who hangs may still write to memory that another process's card knows nothing of.
#[test]
fn another_process_does_not_take_the_place_of_one_that_runs() {
    let card = unlade_sim_card::Served::start(unlade_sim_card::Config::default()).unwrap();
    let mut other = Other::start();
    let way = VfioUser::connect(card.path()).unwrap();
    way.close();
    let own = i32::try_from(std::process::id()).unwrap();
    let servers = || way.servers().iter().map(Peer::id).collect::<Vec<_>>();
    assert_eq!(servers(), [own]);
    *way.servers() = vec![other.peer()];
    let [id] = servers()[..] else {
        panic!("there is one")
    };
    let refused = way.renew().map(drop).unwrap_err();
    assert_eq!(refused, TransportError::OtherServer(id));
    other.end();
    let renewed = way.renew().unwrap();
    let mut vendor = [0; 2];
    renewed.read_config(0, &mut vendor).unwrap();
    assert_eq!(vendor, [0xF4, 0x1A]);
    renewed.close();
    // The same process may come back at any time.
    renewed.renew().unwrap().close();
    // Whoever has served a way that came to nothing has been given memory, too.
    assert_eq!(servers(), [own]);
    let between = Other::start();
    *way.servers() = vec![between.peer()];
    let refused = way.renew().map(drop).unwrap_err();
    assert!(matches!(refused, TransportError::OtherServer(_)));
}

#[test]
fn a_server_that_takes_no_connection_is_not_waited_for_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.sock");
    let address = SocketAddrUnix::new(&path).unwrap();
    let kind = (AddressFamily::UNIX, SocketType::STREAM);
    let server = rustix::net::socket(kind.0, kind.1, None).unwrap();
    rustix::net::bind(&server, &address).unwrap();
    rustix::net::listen(&server, 0).unwrap();
    let wait = Duration::from_millis(100);
    let mut taken = Vec::new();
    let refused = loop {
        match connect(&path, wait) {
            Ok(stream) => taken.push(stream),
            Err(error) => break error,
        }
        assert!(taken.len() < 10, "its queue has no end");
    };
    let expected = "the card has not answered a connection for 100ms";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn replies_that_are_all_late_are_too_many() {
    let (stream, _server) = UnixStream::pair().unwrap();
    let mut connection = Connection::new(stream, TIMEOUT).unwrap();
    for _ in 0..1000 {
        connection.wait_for(PROMPT).unwrap();
    }
    let late = (0..100).position(|_| connection.wait_for(TIMEOUT - PROMPT).is_err());
    assert_eq!(late, Some(4), "five seconds each");
}

#[test]
fn where_a_card_is_not_its_virtual_functions_are_named_if_they_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.sock");
    let beside = |number: u32| folder.path().join(format!("card.sock.{number}"));
    // No socket, and so no function.
    std::fs::write(beside(1), "").unwrap();
    let error = || VfioUser::connect(&path).unwrap_err();
    assert!(matches!(
        error(),
        TransportError::Os {
            call: "connect",
            ..
        }
    ));
    let shown = |number| beside(number).display().to_string();
    let _second = UnixListener::bind(beside(2)).unwrap();
    let only = |first, last| TransportError::OnlyFunctions {
        first: shown(first),
        last: shown(last),
    };
    assert_eq!(error(), only(2, 2));
    assert!(
        error()
            .to_string()
            .ends_with(&format!("beside it: {}", shown(2)))
    );
    let _last = UnixListener::bind(beside(64)).unwrap();
    assert_eq!(error(), only(2, 64));
}

#[test]
fn a_path_that_no_socket_has_is_refused_with_the_longest() {
    let path = "x".repeat(108);
    let error = VfioUser::connect(path.as_ref()).unwrap_err();
    assert_eq!(
        error,
        TransportError::LongPath {
            bytes: 108,
            most: 107
        }
    );
    let error = VfioUser::connect(path[1..].as_ref()).unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::Os {
                call: "connect",
                ..
            }
        ),
        "{error}"
    );
}
