// The function app on Flex Consumption, and all of its settings.
param token string
param location string
param tags object
param identityId string
param identityClientId string
param storageAccountName string
param packageContainerName string
param applicationInsightsName string
param maximumInstanceCount int
param instanceMemoryMB int
param customVisionEndpoint string
param faceEndpoint string
param eventGridTopicEndpoint string
param keyVaultName string
param customVisionKeySecretName string
param faceKeySecretName string
param settings object

resource storageAccount 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageAccountName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

// A user-assigned identity is named to both who use it: the host reads __credential and __clientId of its connection,
// the app's identity library AZURE_CLIENT_ID.
var ownSettings = {
  AzureWebJobsStorage__blobServiceUri: storageAccount.properties.primaryEndpoints.blob
  AzureWebJobsStorage__queueServiceUri: storageAccount.properties.primaryEndpoints.queue
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AZURE_CLIENT_ID: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  CUSTOM_VISION_ENDPOINT: customVisionEndpoint
  FACE_ENDPOINT: faceEndpoint
}
var topicSettings = empty(eventGridTopicEndpoint) ? {} : { EVENT_GRID_TOPIC_ENDPOINT: eventGridTopicEndpoint }
// Key Vault references: the platform resolves them with keyVaultReferenceIdentity, and the app sees only the key.
var customVisionKeySettings = empty(customVisionKeySecretName) ? {} : { CUSTOM_VISION_TRAINING_KEY: '@Microsoft.KeyVault(VaultName=${keyVaultName};SecretName=${customVisionKeySecretName})' }
var faceKeySettings = empty(faceKeySecretName) ? {} : { FACE_KEY: '@Microsoft.KeyVault(VaultName=${keyVaultName};SecretName=${faceKeySecretName})' }

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225: messages wait in storage while a zone is away; not every region has zones
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_17: no function is called over HTTP
  // checkov:skip=CKV_AZURE_78: Flex Consumption has no FTP, and its password is off below
  // checkov:skip=CKV_AZURE_212: one instance reaches the limit; messages wait in storage while it is replaced
  // checkov:skip=CKV_AZURE_213: Flex Consumption replaces an instance that does not answer; an alert tells of silence
  // checkov:skip=CKV_AZURE_222: azd and pipelines publish from outside, with tokens
  name: 'func-${token}'
  location: location
  tags: union(tags, { 'azd-service-name': 'relay' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    siteConfig: {
      minTlsVersion: '1.2'
      http20Enabled: true
    }
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        // Of each function. How many messages an instance takes at a time is in host.json.
        maximumInstanceCount: maximumInstanceCount
        instanceMemoryMB: instanceMemoryMB
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storageAccount.properties.primaryEndpoints.blob}${packageContainerName}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
    }
  }
}

// azd publishes with a token: no passwords.
resource ftp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

// These are the app's own settings, which checkov takes for the site's.
resource appSettings 'Microsoft.Web/sites/config@2024-04-01' = {
  // checkov:skip=CKV_AZURE_13: no function is called over HTTP
  // checkov:skip=CKV_AZURE_63: no function is called over HTTP
  // checkov:skip=CKV_AZURE_65: no function is called over HTTP
  // checkov:skip=CKV_AZURE_66: no function is called over HTTP
  // checkov:skip=CKV_AZURE_80: the app is Python
  // checkov:skip=CKV_AZURE_88: the app keeps no files
  // checkov:skip=CKV_AZURE_222: told at the site
  parent: app
  name: 'appsettings'
  properties: union(ownSettings, topicSettings, customVisionKeySettings, faceKeySettings, settings)
}

output name string = app.name
