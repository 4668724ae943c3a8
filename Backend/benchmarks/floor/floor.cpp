// floor: the least that an uploader can do. Read the file, sum it (CRC32C), send it; no safety, no retry.
//
// Small files (8 MiB or less): read and summed in memory, one multipart request with the sum in it.
// Large files: a resumable session, everything but the last quantum in one request, then the tail with
// X-Goog-Hash. One kept-alive connection a thread, blocking sockets, one buffer a thread.
//
//   g++ -O3 -march=native -o floor floor.cpp -lpthread -lssl -lcrypto
//   floor http://127.0.0.1:PORT BUCKET FOLDER CA-FILE-OR-"" THREADS
//
// Prints "HTTP/1.1". Exit status 1 with a line on standard error for anything unexpected.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nmmintrin.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using std::string;
static const size_t BLOCK = 1 << 20, QUANTUM = 256 << 10, SMALL = 8 << 20;

[[noreturn]] static void die(const string &what) {
  fprintf(stderr, "floor: %s\n", what.c_str());
  exit(1);
}

// ---- CRC32C: three interleaved streams, joined by multiplication with x^n (as in Mark Adler's crc32c.c)

static uint32_t long_shift[4][256], short_shift[4][256];
static const size_t LONG = 8192, SHORT = 256;

static uint32_t gf2_times(const uint32_t *matrix, uint32_t vector) {
  uint32_t sum = 0;
  for (; vector; vector >>= 1, matrix++)
    if (vector & 1) sum ^= *matrix;
  return sum;
}

static void make_shift(uint32_t table[4][256], size_t length) {  // length is a power of two
  uint32_t a[32], b[32];
  a[0] = 0x82f63b78;
  for (int n = 1; n < 32; n++) a[n] = 1u << (n - 1);
  for (size_t bits = 1; bits < length * 8; bits *= 2) {
    for (int n = 0; n < 32; n++) b[n] = gf2_times(a, a[n]);
    memcpy(a, b, sizeof a);
  }
  for (uint32_t n = 0; n < 256; n++)
    for (int k = 0; k < 4; k++) table[k][n] = gf2_times(a, n << (8 * k));
}

static uint32_t shifted(uint32_t table[4][256], uint32_t crc) {
  return table[0][crc & 255] ^ table[1][(crc >> 8) & 255] ^ table[2][(crc >> 16) & 255] ^ table[3][crc >> 24];
}

static uint64_t at(const unsigned char *p) {
  uint64_t word;
  memcpy(&word, p, 8);
  return word;
}

static uint32_t crc32c(uint32_t crc, const void *data, size_t length) {
  const unsigned char *p = (const unsigned char *)data;
  uint64_t c0 = crc ^ 0xffffffffu;
  for (int pass = 0; pass < 2; pass++) {
    const size_t block = pass ? SHORT : LONG;
    auto table = pass ? short_shift : long_shift;
    while (length >= 3 * block) {
      uint64_t c1 = 0, c2 = 0;
      for (const unsigned char *end = p + block; p < end; p += 8) {
        c0 = _mm_crc32_u64(c0, at(p));
        c1 = _mm_crc32_u64(c1, at(p + block));
        c2 = _mm_crc32_u64(c2, at(p + 2 * block));
      }
      c0 = shifted(table, (uint32_t)c0) ^ c1;
      c0 = shifted(table, (uint32_t)c0) ^ c2;
      p += 2 * block;
      length -= 3 * block;
    }
  }
  for (; length >= 8; p += 8, length -= 8) c0 = _mm_crc32_u64(c0, at(p));
  for (; length; length--) c0 = _mm_crc32_u8((uint32_t)c0, *p++);
  return (uint32_t)c0 ^ 0xffffffffu;
}

static string base64_of(uint32_t crc) {
  static const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  uint64_t bits = (uint64_t)crc << 16;
  string text;
  for (int n = 0; n < 6; n++) text += digits[(bits >> (42 - 6 * n)) & 63];
  return text + "==";
}

// ---- One connection

static string host;
static int port;
static SSL_CTX *tls;

struct Connection {
  int socket_ = -1;
  SSL *ssl = nullptr;

  Connection() {
    socket_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, host.c_str(), &address.sin_addr);
    if (connect(socket_, (sockaddr *)&address, sizeof address)) die("no connection");
    int one = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!tls) return;
    ssl = SSL_new(tls);
    SSL_set_fd(ssl, socket_);
    if (SSL_connect(ssl) != 1) die("no TLS");
  }

  void send_all(const void *data, size_t length, bool more) {
    const char *p = (const char *)data;
    while (length) {
      ssize_t sent = ssl ? SSL_write(ssl, p, (int)std::min(length, BLOCK))
                         : ::send(socket_, p, length, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
      if (sent <= 0) die("the connection broke");
      p += sent;
      length -= sent;
    }
  }

  // The status; headers and body in `answer`.
  int answer(string &answer) {
    char buffer[16384];
    answer.clear();
    size_t wanted = 0;
    while (!wanted || answer.size() < wanted) {
      ssize_t got = ssl ? SSL_read(ssl, buffer, sizeof buffer) : recv(socket_, buffer, sizeof buffer, 0);
      if (got <= 0) die("no answer");
      answer.append(buffer, got);
      size_t head = answer.find("\r\n\r\n");
      if (!wanted && head != string::npos) {
        const char *length = strcasestr(answer.c_str(), "content-length:");
        wanted = head + 4 + (length ? strtoul(length + 15, nullptr, 10) : 0);
      }
    }
    return atoi(answer.c_str() + 9);
  }
};

// ---- One file

struct File {
  string name;
  size_t size;
};
static string bucket, folder;

static size_t read_at(int file, char *buffer, size_t length, size_t offset) {
  ssize_t got = pread(file, buffer, length, offset);
  if (got <= 0) die("a file could not be read");
  return got;
}

static string head(const string &method, const string &target, const string &headers, size_t length) {
  return method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + headers +
         "Content-Length: " + std::to_string(length) + "\r\n\r\n";
}

static void put_small(Connection &line, const File &file, int descriptor, char *buffer) {
  for (size_t got = 0; got < file.size;) got += read_at(descriptor, buffer + got, file.size - got, got);
  string before = "--floor\r\nContent-Type: application/json\r\n\r\n{\"name\":\"recordings/" + file.name +
                  "\",\"crc32c\":\"" + base64_of(crc32c(0, buffer, file.size)) +
                  "\"}\r\n--floor\r\nContent-Type: video/mp4\r\n\r\n";
  string after = "\r\n--floor--\r\n", answer;
  string request = head("POST", "/upload/storage/v1/b/" + bucket + "/o?uploadType=multipart&ifGenerationMatch=0",
                        "Content-Type: multipart/related; boundary=floor\r\n", before.size() + file.size + after.size());
  request += before;
  line.send_all(request.data(), request.size(), true);
  line.send_all(buffer, file.size, true);
  line.send_all(after.data(), after.size(), false);
  if (line.answer(answer) != 200) die(answer);
}

static void put_large(Connection &line, const File &file, int descriptor, char *buffer) {
  string spec = "{\"name\":\"recordings/" + file.name + "\"}", answer;
  string request = head("POST", "/upload/storage/v1/b/" + bucket + "/o?uploadType=resumable&ifGenerationMatch=0",
                        "Content-Type: application/json\r\n", spec.size()) + spec;
  line.send_all(request.data(), request.size(), false);
  if (line.answer(answer) != 200) die(answer);
  const char *location = strcasestr(answer.c_str(), "location:");
  string uri(location + 10, strstr(location, "\r\n"));
  string target = uri.substr(uri.find('/', uri.find("//") + 2));
  uint32_t sum = 0;
  size_t tail = (file.size - 1) / QUANTUM * QUANTUM;
  for (size_t begin : {(size_t)0, tail}) {
    size_t end = begin == tail ? file.size : tail;
    string headers = "Content-Range: bytes " + std::to_string(begin) + "-" + std::to_string(end - 1) + "/" +
                     std::to_string(file.size) + "\r\n";
    if (end == file.size) {  // the tail is summed before it is sent
      for (size_t got = 0; got < end - begin;) got += read_at(descriptor, buffer + got, end - begin - got, begin + got);
      sum = crc32c(sum, buffer, end - begin);
      request = head("PUT", target, headers + "X-Goog-Hash: crc32c=" + base64_of(sum) + "\r\n", end - begin);
      line.send_all(request.data(), request.size(), true);
      line.send_all(buffer, end - begin, false);
    } else {
      request = head("PUT", target, headers, end - begin);
      line.send_all(request.data(), request.size(), true);
      for (size_t offset = begin; offset < end;) {
        size_t got = read_at(descriptor, buffer, std::min(BLOCK, end - offset), offset);
        sum = crc32c(sum, buffer, got);
        line.send_all(buffer, got, offset + got < end);
        offset += got;
      }
    }
    int status = line.answer(answer);
    if (status != (end == file.size ? 200 : 308)) die(answer);
  }
}

int main(int count, char **words) {
  if (count != 6) die("url bucket folder ca-file threads");
  string url = words[1];
  bucket = words[2];
  folder = words[3];
  size_t at_host = url.find("//") + 2, colon = url.rfind(':');
  host = url.substr(at_host, colon - at_host);
  port = atoi(url.c_str() + colon + 1);
  make_shift(long_shift, LONG);
  make_shift(short_shift, SHORT);
  if (crc32c(0, "123456789", 9) != 0xe3069283u) die("CRC32C is wrong");
  if (url.rfind("https", 0) == 0) {
    tls = SSL_CTX_new(TLS_client_method());
    // The cheapest first; OpenSSL's own order begins with AES-256.
    SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, nullptr);
    if (SSL_CTX_load_verify_locations(tls, words[4], nullptr) != 1) die("the CA file cannot be read");
  }
  std::vector<File> files;
  DIR *opened = opendir(folder.c_str());
  if (!opened) die("the folder cannot be read");
  while (dirent *entry = readdir(opened)) {
    struct stat found;
    if (entry->d_name[0] != '.' && !stat((folder + "/" + entry->d_name).c_str(), &found))
      files.push_back({entry->d_name, (size_t)found.st_size});
  }
  closedir(opened);
  std::sort(files.begin(), files.end(), [](const File &a, const File &b) { return a.name < b.name; });
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (int n = atoi(words[5]); n > 0; n--)
    threads.emplace_back([&] {
      Connection line;
      std::unique_ptr<char[]> buffer(new char[SMALL]);  // not zeroed: a large file touches one block of it
      for (size_t mine; (mine = next++) < files.size();) {
        int descriptor = open((folder + "/" + files[mine].name).c_str(), O_RDONLY);
        if (descriptor < 0) die("a file could not be opened");
        (files[mine].size <= SMALL ? put_small : put_large)(line, files[mine], descriptor, buffer.get());
        close(descriptor);
      }
    });
  for (auto &thread : threads) thread.join();
  puts("HTTP/1.1");
}
