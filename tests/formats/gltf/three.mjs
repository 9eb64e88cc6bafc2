// What three.js makes of glTF files: node three.mjs FILE... prints one JSON array, an entry per file.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as THREE from 'three';
import { GLTFLoader } from 'three/examples/jsm/loaders/GLTFLoader.js';

// 1. What a browser has and Node.js lacks: files behind URLs, and pictures, whose pixels nobody asks for here.
const network = globalThis.fetch;
globalThis.fetch = async (request, options) => {
  const url = typeof request === 'string' ? request : request.url;
  if (!url.startsWith('file:')) return network(request, options);
  return new Response(fs.readFileSync(fileURLToPath(url)));
};
globalThis.self = globalThis;
globalThis.ProgressEvent ??= class extends Event {};
class Picture extends EventTarget {
  set src(url) { queueMicrotask(() => this.dispatchEvent(new Event('load'))); }
}
globalThis.document = { createElementNS: () => new Picture() };
console.warn = () => {};
console.error = () => {};

// 2. Corner by corner, in the order of the index: place (3), texture coordinate (2), linear colour (3).
function corners(mesh, placement) {
  const geometry = mesh.geometry, material = mesh.material;
  const position = geometry.attributes.position, color = geometry.attributes.color;
  const uv = material.map ? geometry.attributes['uv' + (material.map.channel || '')] : null;
  if (material.map) material.map.updateMatrix();
  const count = geometry.index ? geometry.index.count : position.count, rows = [];
  const at = new THREE.Vector3(), laid = new THREE.Vector2(), tint = new THREE.Color();
  for (let i = 0; i < count - (count % 3); i++) {
    const v = geometry.index ? geometry.index.getX(i) : i;
    mesh.getVertexPosition(v, at).applyMatrix4(placement);
    tint.copy(material.color);
    if (color && material.vertexColors) tint.multiply(new THREE.Color(color.getX(v), color.getY(v), color.getZ(v)));
    if (uv) laid.fromBufferAttribute(uv, v).applyMatrix3(material.map.matrix); else laid.set(0, 0);
    rows.push(at.x, at.y, at.z, laid.x, laid.y, tint.r, tint.g, tint.b);
  }
  return rows;
}

async function read(file) {
  const manager = new THREE.LoadingManager();
  const loader = new GLTFLoader(manager);
  const data = fs.readFileSync(file);
  const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
  const gltf = await loader.parseAsync(bytes, pathToFileURL(path.dirname(path.resolve(file))).href + '/');
  gltf.scene.updateMatrixWorld(true);
  const parts = [];
  gltf.scene.traverse(mesh => {
    if (!mesh.isMesh) return;
    if (mesh.isSkinnedMesh) mesh.skeleton.update();
    const copies = mesh.isInstancedMesh ? mesh.count : 1;
    for (let i = 0; i < copies; i++) {
      const placement = mesh.matrixWorld.clone();
      if (mesh.isInstancedMesh) {
        const own = new THREE.Matrix4();
        mesh.getMatrixAt(i, own);
        placement.multiply(own);
      }
      parts.push(corners(mesh, placement));
    }
  });
  return parts;
}

const out = [];
for (const file of process.argv.slice(2)) {
  try { out.push({ parts: await read(file) }); } catch (error) { out.push({ error: String(error) }); }
}
process.stdout.write(JSON.stringify(out));
