/* Samba binds fixed ports and tells by a socket's port whether to speak TLS. Loaded before it (LD_PRELOAD), this moves
   its ports and hides that it did: PORTS="389=20389,636=20636". */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static in_port_t moved(in_port_t port, int back) {
    const char *at = getenv("PORTS");
    while (at && *at) {
        char *end;
        int from = (int)strtol(at, &end, 10), to = *end == '=' ? (int)strtol(end + 1, &end, 10) : from;
        if (ntohs(port) == (back ? to : from)) return htons((unsigned short)(back ? from : to));
        at = *end == ',' ? end + 1 : NULL;
    }
    return port;
}

/* The port is at the same place in IPv4 and IPv6. */
static void move(struct sockaddr *address, int back) {
    struct sockaddr_in *internet = (struct sockaddr_in *)address;
    if (address->sa_family == AF_INET || address->sa_family == AF_INET6)
        internet->sin_port = moved(internet->sin_port, back);
}

int bind(int socket, const struct sockaddr *address, socklen_t length) {
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
    struct sockaddr_storage copy;
    if (length > sizeof copy) return next(socket, address, length);
    memcpy(&copy, address, length);
    move((struct sockaddr *)&copy, 0);
    return next(socket, (struct sockaddr *)&copy, length);
}

int getsockname(int socket, struct sockaddr *address, socklen_t *length) {
    int (*next)(int, struct sockaddr *, socklen_t *) = dlsym(RTLD_NEXT, "getsockname");
    int result = next(socket, address, length);
    if (result == 0) move(address, 1);
    return result;
}
