/**
 * The ceiling: a Fastify that reads the same body and answers 200 without looking at it. What is lost from here
 * to Otklik is the price of checking, parsing and storing.
 */
import { fastify } from 'fastify';

const server = fastify();

server.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
  done(null, body);
});
server.get('/readyz', () => ({ ok: true }));
server.post('/webhooks/yclients/events', () => ({ ok: true }));

await server.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
