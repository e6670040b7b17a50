//! A little proxy that works: it forwards, makes tunnels by CONNECT and by SOCKS5, and remembers
//! what it was asked. It takes every name for one origin.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;

use crate::peer::Peer;
use crate::peer::Seen;
use crate::peer::ok;
use crate::peer::read_request;

/// What a proxy was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The request line, or `SOCKS destination`.
    pub line: String,
    /// The `Host` field.
    pub host: String,
    /// `Proxy-Authorization`, or `user:password` of SOCKS.
    pub credentials: Option<String>,
    /// `X-Extra`, which tests set.
    pub extra: Option<String>,
    /// Which connection it came on.
    pub connection: usize,
}

/// The proxy.
pub struct Little {
    pub peer: Peer,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone)]
struct Job {
    asked: Arc<Mutex<Vec<Asked>>>,
    origin: SocketAddr,
    connection: usize,
}

impl Little {
    /// A proxy before this origin.
    pub fn before(origin: SocketAddr) -> Little {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let job = Job {
            asked: Arc::clone(&asked),
            origin,
            connection: 0,
        };
        let peer = Peer::start(move |connection, socket| {
            let job = Job {
                connection,
                ..job.clone()
            };
            let _ = job.serve(socket);
        });
        Little { peer, asked }
    }

    /// What it was asked so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The lines of that.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// `host:port` of the proxy.
    pub fn authority(&self) -> String {
        self.peer.url("").split_off("http://".len())
    }
}

impl Job {
    fn note(&self, asked: Asked) {
        let connection = self.connection;
        let mut all = self.asked.lock().unwrap();
        all.push(Asked {
            connection,
            ..asked
        });
    }

    fn serve(&self, socket: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(socket.try_clone()?);
        if reader.fill_buf()?.first() == Some(&5) {
            return self.serve_socks(reader, socket);
        }
        let mut index = 0;
        while let Some(seen) = read_request(&mut reader, self.connection, index) {
            let field = |name: &str| seen.fields.get(name).cloned();
            self.note(Asked {
                line: seen.line.clone(),
                host: field("host").unwrap_or_default(),
                credentials: field("proxy-authorization"),
                extra: field("x-extra"),
                connection: 0,
            });
            if seen.line.starts_with("CONNECT ") {
                (&socket).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
                return self.splice(reader, socket);
            }
            (&socket).write_all(&self.forward(&seen)?)?;
            index += 1;
        }
        Ok(())
    }

    /// Asks the origin, by a connection of its own.
    fn forward(&self, seen: &Seen) -> std::io::Result<Vec<u8>> {
        let words: Vec<&str> = seen.line.split(' ').collect();
        let Some(rest) = words[1].strip_prefix("http://") else {
            return Ok(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec());
        };
        let path = &rest[rest.find('/').unwrap()..];
        let mut head = format!("{} {path} HTTP/1.1\r\nConnection: close\r\n", words[0]);
        for (name, value) in &seen.fields {
            let is_hop = ["proxy-authorization", "transfer-encoding", "content-length"];
            if !is_hop.contains(&name.as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", seen.body.len()));
        let mut origin = TcpStream::connect(self.origin)?;
        origin.write_all(head.as_bytes())?;
        origin.write_all(&seen.body)?;
        let mut answer = Vec::new();
        origin.read_to_end(&mut answer)?;
        let text = String::from_utf8(answer).expect("origins of these tests answer text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
        match head
            .split("\r\n")
            .find(|line| line.starts_with("Location: "))
        {
            Some(location) => Ok(format!(
                "{}\r\n{location}\r\nContent-Length: 0\r\n\r\n",
                head.split("\r\n").next().unwrap_or_default()
            )
            .into_bytes()),
            None => Ok(ok(body)),
        }
    }

    fn serve_socks(
        &self,
        mut reader: BufReader<TcpStream>,
        mut socket: TcpStream,
    ) -> std::io::Result<()> {
        let methods_len = usize::from(read::<2>(&mut reader)?[1]);
        let mut methods = vec![0; methods_len];
        reader.read_exact(&mut methods)?;
        let mut credentials = None;
        if methods.contains(&2) {
            socket.write_all(&[5, 2])?;
            assert_eq!(read::<1>(&mut reader)?, [1]);
            let user = read_field(&mut reader)?;
            let password = read_field(&mut reader)?;
            let is_right = password == "hush";
            credentials = Some(format!("{user}:{password}"));
            socket.write_all(&[1, u8::from(!is_right)])?;
            if !is_right {
                return Ok(());
            }
        } else {
            socket.write_all(&[5, 0])?;
        }
        let [version, command, reserved, kind] = read(&mut reader)?;
        assert_eq!([version, command, reserved], [5, 1, 0]);
        let host = match kind {
            1 => std::net::Ipv4Addr::from(read::<4>(&mut reader)?).to_string(),
            4 => std::net::Ipv6Addr::from(read::<16>(&mut reader)?).to_string(),
            3 => read_field(&mut reader)?,
            other => panic!("address type {other}"),
        };
        let port = u16::from_be_bytes(read(&mut reader)?);
        self.note(Asked {
            line: format!("SOCKS {host} {port}"),
            credentials,
            ..Asked::default()
        });
        socket.write_all(&[5, 0, 0, 3, 3, b'a', b'b', b'c', 0, 80])?;
        self.splice(reader, socket)
    }

    /// Copies in both directions, until both have ended.
    fn splice(&self, mut reader: BufReader<TcpStream>, socket: TcpStream) -> std::io::Result<()> {
        let origin = TcpStream::connect(self.origin)?;
        let (mut to_origin, mut from_origin) = (origin.try_clone()?, origin);
        let mut to_client = socket;
        let up = std::thread::spawn(move || {
            let copied = std::io::copy(&mut reader, &mut to_origin);
            let _ = to_origin.shutdown(Shutdown::Write);
            copied
        });
        let down = std::io::copy(&mut from_origin, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
        up.join().expect("copying does not panic")?;
        down.map(drop)
    }
}

fn read<const LEN: usize>(reader: &mut impl Read) -> std::io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_field(reader: &mut impl Read) -> std::io::Result<String> {
    let [len] = read(reader)?;
    let mut bytes = vec![0; usize::from(len)];
    reader.read_exact(&mut bytes)?;
    Ok(String::from_utf8(bytes).expect("these tests have text"))
}
