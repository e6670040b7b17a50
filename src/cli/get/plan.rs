//! What is sent to every URL: method, fields, credentials, body.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::http::Method;
use clap::Args;
use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Headers;
use roundtrip::client::RequestBuilder;
use roundtrip::client::multipart::Form;
use roundtrip::error::ErrorKind;
use roundtrip::runtime;

use crate::cli::Failure;
use crate::cli::console;
use crate::cli::get::Arguments;
use crate::cli::get::form::Field;
use crate::cli::get::invalid;
use crate::cli::get::split_once;
use crate::cli::get::unreadable;

/// Bytes of standard input that are read at once.
const STDIN_BYTES: usize = 64 * 1024;
/// A file that says it is no longer than this is read at once: those of /proc and /sys say something
/// else than they hold.
const SMALL_FILE_BYTES: u64 = 64 * 1024;

/// What the body is made of.
#[derive(Args)]
pub struct Content {
    /// Data to send, `@FILE` (without its line ends) or `@-`; several are joined by `&`.
    #[arg(short = 'd', long = "data", value_name = "DATA")]
    data: Vec<OsString>,
    /// Data to send as it is; `@FILE` is streamed, `@-` is standard input.
    #[arg(long = "data-binary", value_name = "DATA", conflicts_with_all = ["data", "upload"])]
    data_binary: Option<OsString>,
    /// A file to send as the body, streamed, by PUT; `-`: standard input, in chunks. A URL that ends
    /// in `/` gets the file's name.
    #[arg(
        short = 'T',
        long = "upload-file",
        value_name = "FILE",
        conflicts_with = "data"
    )]
    upload: Option<OsString>,
    /// A field of a form: `NAME=VALUE`, `NAME=@FILE`, `NAME=<FILE` for a file's content; behind it
    /// `;type=MEDIA/TYPE` and `;filename=NAME`.
    #[arg(
        short = 'F',
        long = "form",
        value_name = "NAME=CONTENT",
        conflicts_with_all = ["data", "data_binary", "upload"]
    )]
    form: Vec<OsString>,
}

/// A field: its name and value.
type Pair = (String, Vec<u8>);

/// What every request has in common.
pub struct Plan {
    method: Method,
    fields: Vec<Pair>,
    user: Option<(Vec<u8>, Vec<u8>)>,
    data: Option<Data>,
    /// The name that is put behind a URL that ends in `/`.
    file_name: Option<OsString>,
    timeout: Option<Duration>,
}

enum Data {
    Source(Source),
    /// Standard input, as it comes: for one URL.
    Stdin(Stdin),
    Form(Vec<Field>),
}

/// What can be sent more than once.
pub enum Source {
    Bytes(Vec<u8>),
    /// Of this length, streamed.
    File(Arc<File>, u64),
}

#[derive(Clone)]
struct Stdin {
    file: Arc<File>,
    /// Bytes that were read of it.
    read_bytes: Arc<AtomicU64>,
    /// Why no more could be read.
    error: Arc<OnceLock<String>>,
}

impl Plan {
    /// Looks at all that the arguments name; files are opened.
    pub fn new(arguments: &Arguments) -> Result<Plan, Failure> {
        let content = &arguments.content;
        let data = match (&content.data_binary, &content.upload) {
            (Some(text), _) => Some(Data::Source(Source::binary(text)?)),
            (None, Some(name)) => Some(Data::upload(name)?),
            (None, None) if !content.form.is_empty() => {
                let fields = content.form.iter().map(|text| Field::new(text));
                Some(Data::Form(fields.collect::<Result<_, _>>()?))
            }
            (None, None) if content.data.is_empty() => None,
            (None, None) => Some(Data::Source(Source::joined(&content.data)?)),
        };
        if matches!(data, Some(Data::Stdin(_))) && arguments.urls.len() > 1 {
            return Err(invalid("-T -: standard input can be sent to one URL only"));
        }
        let method = match &arguments.method {
            Some(name) => method(name)?,
            None if arguments.head => Method::HEAD,
            None if content.upload.is_some() => Method::PUT,
            None if data.is_some() => Method::POST,
            None => Method::GET,
        };
        let pair = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let agent = concat!("roundtrip/", env!("CARGO_PKG_VERSION"));
        let mut fields = vec![pair("Accept", b"*/*"), pair("User-Agent", agent.as_bytes())];
        if matches!(data, Some(Data::Source(_))) && content.upload.is_none() {
            fields.push(pair("Content-Type", b"application/x-www-form-urlencoded"));
        }
        let cookies = arguments.cookie.as_deref().map(OsStr::as_bytes);
        if let Some(cookies) = cookies.filter(|text| text.contains(&b'=')) {
            check_field("-b", "Cookie", cookies)?;
            fields.push(pair("Cookie", cookies));
        }
        set_fields(&mut fields, &arguments.fields)?;
        let file_name = content.upload.as_deref().map(Path::new);
        let file_name = file_name.and_then(Path::file_name);
        Ok(Plan {
            method,
            fields,
            user: arguments.user.as_deref().map(user).transpose()?,
            data,
            file_name: file_name.filter(|name| *name != "-").map(OsStr::to_owned),
            timeout: arguments.timeout.filter(|timeout| !timeout.is_zero()),
        })
    }

    /// The request for one URL.
    pub fn request(&self, client: &Client, url: &OsStr) -> RequestBuilder {
        let mut url = url_text(url.as_bytes());
        if let Some(name) = &self.file_name
            && url.ends_with('/')
        {
            url += &percent_coded(name.as_bytes());
        }
        let mut request = client.request(self.method.clone(), &url);
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        for (name, value) in &self.fields {
            request = request.header(name, value);
        }
        if let Some((user, password)) = &self.user {
            request = request.basic_auth(user, password);
        }
        match &self.data {
            Some(Data::Form(fields)) => {
                let form = fields.iter();
                request.multipart(form.fold(Form::new(), |form, field| field.add_to(form)))
            }
            Some(Data::Source(source)) => request.body(source.body()),
            Some(Data::Stdin(stdin)) => request.body(stdin.body()),
            None => request,
        }
    }

    /// Why standard input was not sent whole, where that was its own fault.
    pub fn stdin_error(&self) -> Option<&str> {
        match &self.data {
            Some(Data::Stdin(stdin)) => stdin.error.get().map(String::as_str),
            _ => None,
        }
    }

    /// Bytes of the body that were sent of standard input.
    pub fn stdin_bytes(&self) -> Option<u64> {
        match &self.data {
            Some(Data::Stdin(stdin)) => Some(stdin.read_bytes.load(Ordering::Relaxed)),
            _ => None,
        }
    }
}

fn method(name: &str) -> Result<Method, Failure> {
    match Method::from_bytes(name.as_bytes()) {
        Ok(Method::CONNECT) => Err(invalid(
            "-X: a tunnel (CONNECT) has nothing to write: see -p",
        )),
        Ok(method) => Ok(method),
        Err(_) => Err(invalid(format!("-X: `{name}` is no method"))),
    }
}

/// A field that can be sent.
fn check_field(option: &str, name: &str, value: &[u8]) -> Result<(), Failure> {
    match Headers::from_pairs([(name, value)]) {
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(format!("{option}: {error:#}"))),
    }
}

fn user(text: &OsStr) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let (name, password) = split_once(text.as_bytes(), b':')
        .ok_or_else(|| invalid("-u: NAME:PASSWORD is expected; nobody is asked for a password"))?;
    Ok((name.to_vec(), password.to_vec()))
}

/// A URL as text; what is not UTF-8 is percent-coded.
fn url_text(bytes: &[u8]) -> String {
    let mut url = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        url += chunk.valid();
        url += &percent_coded(chunk.invalid());
    }
    match url.contains("://") {
        true => url,
        false => format!("http://{url}"),
    }
}

/// Bytes as a URL has them that mean nothing but themselves (RFC 3986 §2.3).
fn percent_coded(bytes: &[u8]) -> String {
    let coded = bytes.iter().map(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    coded.collect()
}

/// Puts the user's fields over ours: `Name: value` replaces, `Name:` removes.
fn set_fields(fields: &mut Vec<Pair>, texts: &[OsString]) -> Result<(), Failure> {
    let mut own = Vec::new();
    for text in texts {
        let Some((name, value)) = split_once(text.as_bytes(), b':') else {
            return Err(invalid(format!("-H: `{}` has no colon", text.display())));
        };
        // A name that is no text is refused as one that is no token.
        let name = String::from_utf8_lossy(name).trim().to_owned();
        let value = value.trim_ascii().to_vec();
        check_field("-H", &name, &value)?;
        fields.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        own.push((name, value));
    }
    fields.extend(own.into_iter().filter(|(_, value)| !value.is_empty()));
    Ok(())
}

impl Data {
    fn upload(name: &OsStr) -> Result<Data, Failure> {
        if name != "-" {
            return Ok(Data::Source(Source::open(name)?));
        }
        let file =
            console::stdin().map_err(|error| unreadable(OsStr::new("standard input"), error))?;
        Ok(Data::Stdin(Stdin {
            file: Arc::new(file),
            read_bytes: Arc::default(),
            error: Arc::default(),
        }))
    }
}

impl Source {
    /// A file; `-`: all of standard input. What is no regular file, or a small one, is read whole.
    pub fn open(name: &OsStr) -> Result<Source, Failure> {
        if name == "-" {
            return Ok(Source::Bytes(read(name)?));
        }
        let file = File::open(name).map_err(|error| unreadable(name, error))?;
        let metadata = file.metadata().map_err(|error| unreadable(name, error))?;
        match metadata.is_file() && metadata.len() > SMALL_FILE_BYTES {
            true => Ok(Source::File(Arc::new(file), metadata.len())),
            false => Ok(Source::Bytes(read_all(name, &file)?)),
        }
    }

    /// The content as a body.
    pub fn body(&self) -> Body {
        match self {
            Source::Bytes(bytes) => Body::from(bytes.clone()),
            Source::File(file, length) => Body::file(Arc::clone(file), 0..*length),
        }
    }

    fn binary(text: &OsStr) -> Result<Source, Failure> {
        match text.as_bytes() {
            [b'@', name @ ..] => Source::open(OsStr::from_bytes(name)),
            bytes => Ok(Source::Bytes(bytes.to_vec())),
        }
    }

    /// Several, with `&` between them; files without their line ends.
    fn joined(texts: &[OsString]) -> Result<Source, Failure> {
        let mut all = Vec::new();
        for text in texts {
            if !all.is_empty() {
                all.push(b'&');
            }
            match text.as_bytes() {
                [b'@', name @ ..] => {
                    let bytes = read(OsStr::from_bytes(name))?;
                    all.extend(bytes.into_iter().filter(|byte| !b"\r\n\0".contains(byte)));
                }
                bytes => all.extend_from_slice(bytes),
            }
        }
        Ok(Source::Bytes(all))
    }
}

impl Stdin {
    fn body(&self) -> Body {
        let stdin = self.clone();
        Body::produce(async move |sender| {
            loop {
                let file = Arc::clone(&stdin.file);
                let read = runtime::blocking(move || read_some(&file)).await?;
                let bytes = read.inspect_err(|error| {
                    stdin.error.get_or_init(|| error.to_string());
                })?;
                if bytes.is_empty() {
                    return Ok(());
                }
                let count = bytes.len() as u64;
                sender.send(bytes.into()).await?;
                stdin.read_bytes.fetch_add(count, Ordering::Relaxed);
            }
        })
    }
}

/// What comes next on standard input; nothing at its end.
fn read_some(mut file: &File) -> roundtrip::Result<Vec<u8>> {
    let mut bytes = vec![0; STDIN_BYTES];
    let read = file
        .read(&mut bytes)
        .map_err(|error| Error::new(ErrorKind::Io, "cannot read standard input").because(error))?;
    bytes.truncate(read);
    Ok(bytes)
}

/// A whole file, or standard input.
pub fn read(name: &OsStr) -> Result<Vec<u8>, Failure> {
    let opened = match name == "-" {
        true => console::stdin(),
        false => File::open(name),
    };
    read_all(name, &opened.map_err(|error| unreadable(name, error))?)
}

fn read_all(name: &OsStr, mut file: &File) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match file.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(unreadable(name, error)),
    }
}
