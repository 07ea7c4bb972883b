// SPDX-License-Identifier: Apache-2.0
#include "address.h"

#include <cerrno>
#include <charconv>
#include <cstring>

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace telehelm::ipc {
namespace {

bool isLoopback(const std::string& host) { return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0; }

tl::unexpected<Error> notLoopback(const std::string& host, const std::string& address) {
    return fail(ErrorCode::InvalidArgument,
                "“" + host + "” is not a loopback address, and links to other machines are not encrypted yet; use 127.0.0.1 and "
                             "reach it from afar through an SSH tunnel",
                address);
}

Result<int> parsePort(const std::string& text, const std::string& address) {
    int port = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port < 0 || port > 65535)
        return fail(ErrorCode::InvalidArgument, "“" + text + "” is not a port; it is a number from 0 (any free one) to 65535", address);
    return port;
}

Result<HostPort> splitAddress(const std::string& address) {
    const auto colon = address.rfind(':');
    if (colon == std::string::npos || colon == 0)
        return fail(ErrorCode::InvalidArgument, "an address is HOST:PORT, for example 127.0.0.1:7443", address);
    HostPort split;
    split.host = address.substr(0, colon);
    if (split.host.size() > 2 && split.host.front() == '[' && split.host.back() == ']')
        split.host = split.host.substr(1, split.host.size() - 2);
    return parsePort(address.substr(colon + 1), address).map([&](int port) {
        split.port = port;
        return split;
    });
}

} // namespace

std::string HostPort::text() const {
    return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

Result<HostPort> parseLoopbackAddress(const std::string& address) {
    return splitAddress(address).and_then([&](HostPort split) -> Result<HostPort> {
        if (!isLoopback(split.host))
            return notLoopback(split.host, address);
        return split;
    });
}

Result<void> checkLoopbackEndpoint(const std::string& endpoint) {
    if (endpoint.rfind("ipc://", 0) == 0 || endpoint.rfind("inproc://", 0) == 0)
        return {};
    if (endpoint.rfind("tcp://", 0) != 0)
        return fail(ErrorCode::InvalidArgument, "an endpoint is tcp://HOST:PORT, for example tcp://127.0.0.1:7444", endpoint);
    std::string address = endpoint.substr(6);
    if (address.size() > 2 && address.compare(address.size() - 2, 2, ":*") == 0)
        address.replace(address.size() - 1, 1, "0");
    return parseLoopbackAddress(address).map([](const HostPort&) {}).map_error([&](Error error) {
        error.context = endpoint;
        return error;
    });
}

Result<void> checkPortFree(const HostPort& address) {
    if (address.port == 0)
        return {};
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    addrinfo* found = nullptr;
    if (const int rc = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found); rc != 0)
        return fail(ErrorCode::InvalidArgument, std::string("cannot be resolved: ") + gai_strerror(rc), address.text());
    const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int one = 1; // as gRPC binds: a port in TIME_WAIT counts as free
    int problem = fd < 0 ? errno : 0;
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0)
            problem = errno;
        close(fd);
    }
    freeaddrinfo(found);
    if (problem == 0)
        return {};
    if (problem == EADDRINUSE)
        return fail(ErrorCode::AlreadyExists,
                    "the port is taken by another program; stop it, choose another port, or port 0 for any free one", address.text());
    return fail(ErrorCode::InvalidArgument, std::string("cannot listen here: ") + std::strerror(problem), address.text());
}

} // namespace telehelm::ipc
