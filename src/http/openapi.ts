/** OpenAPI 3.1 made from the table of routes. */
import { z } from 'zod';
import { ROUTES } from './api.ts';
import type { Route } from './route.ts';

const PROBLEM = {
  description: 'Problem details (RFC 9457)',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
};

export function describeApi(version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of ROUTES) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: describe(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Otklik', version, license: { name: 'MIT', identifier: 'MIT' } },
    servers: [{ url: '/api/v1' }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      schemas: {
        Problem: {
          type: 'object',
          required: ['type', 'title', 'status', 'detail'],
          properties: {
            type: { type: 'string' },
            title: { type: 'string' },
            status: { type: 'integer' },
            detail: { type: 'string' },
          },
        },
      },
    },
  };
}

function describe(route: Route): Record<string, unknown> {
  const parameters = [...fieldsOf('path', route.params), ...fieldsOf('query', route.query)];
  return {
    operationId: operationId(route),
    summary: route.summary,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.body ? { requestBody: { required: true, content: jsonContent(schemaOf(route.body)) } } : {}),
    responses: {
      200: { description: route.answer, content: jsonContent({ type: 'object' }) },
      ...(route.params || route.query || route.body ? { 400: PROBLEM } : {}),
      401: PROBLEM,
      ...(route.params ? { 404: PROBLEM } : {}),
      ...(route.method === 'GET' ? {} : { 409: PROBLEM }),
      429: PROBLEM,
      503: PROBLEM,
    },
  };
}

function operationId({ method, path }: Route): string {
  const words = path
    .split('/')
    .filter(Boolean)
    .map(word => word.replace(/[{}]/g, '').replace('-', '_'));
  return [method.toLowerCase(), ...words].join('_');
}

function fieldsOf(place: 'path' | 'query', schema: z.ZodObject | undefined): Record<string, unknown>[] {
  if (schema === undefined) return [];
  return Object.entries(schema.shape).map(([name, field]) => ({
    name,
    in: place,
    required: place === 'path',
    schema: schemaOf(field),
  }));
}

function schemaOf(schema: z.core.$ZodType): Record<string, unknown> {
  const { $schema: _, ...described } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return described;
}

function jsonContent(schema: Record<string, unknown>): Record<string, unknown> {
  return { 'application/json': { schema } };
}
